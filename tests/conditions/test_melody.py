import torch

from t2a.audio.chroma import chromagram, leading
from t2a.conditions.encoder import Sounds
from t2a.conditions.melody import ChromaConfig

CONFIG = ChromaConfig(kind="chroma", sample_rate=16000, window=2048)


def test_states_are_the_leading_class_of_every_frame_whatever_the_batch():
    waves, lengths = torch.randn(3, 2, 16000), torch.tensor([16000, 0, 9000])
    tokens, mask = CONFIG.build()(Sounds(waves, lengths, 16000))
    assert mask.sum(1).tolist() == [1 + 16000 // 512, 0, 1 + 9000 // 512]
    assert torch.equal(tokens.sum(-1), mask.float())
    alone = leading(chromagram(waves[2].mean(0)[:9000], CONFIG)).mT
    assert torch.equal(tokens[2, : len(alone)], alone)


def test_other_rates_are_resampled():
    time = torch.arange(16000) / 8000
    wave = (2 * torch.pi * 440 * time).sin()[None, None]
    tokens, mask = CONFIG.build()(Sounds(wave, torch.tensor([16000]), 8000))
    assert mask.sum() == 1 + 32000 // 512
    assert (tokens[0, 3:-3].argmax(-1) == 9).all()


def test_melodies_are_cut_or_repeated_to_a_fixed_length():
    fixed = CONFIG.model_copy(update={"seconds": 2.0}).build()
    waves = torch.randn(2, 1, 48000)
    tokens, mask = fixed(Sounds(waves, torch.tensor([48000, 16000]), 16000))
    assert mask.sum(1).tolist() == [63, 63]
    plain = CONFIG.build()(Sounds(waves, torch.tensor([48000, 16000]), 16000)).tokens
    assert torch.equal(tokens[0], plain[0, :63])
    assert torch.equal(tokens[1, :32], plain[1, :32])
    assert torch.equal(tokens[1, 32:], plain[1, :31])


def test_musicgen_s_melody_of_30_s_has_235_frames():
    musicgen = ChromaConfig(kind="chroma", seconds=30.0)
    assert musicgen.build()(Sounds(torch.randn(1, 1, 8000), torch.tensor([8000]), 32000)).tokens.shape == (1, 235, 12)


def test_the_settings_are_the_fingerprint():
    assert CONFIG.fingerprint() == CONFIG.model_copy().fingerprint()
    assert CONFIG.fingerprint() != CONFIG.model_copy(update={"window": 4096}).fingerprint()
