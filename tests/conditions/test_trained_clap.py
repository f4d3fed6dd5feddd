"""A CLAP of our own as a condition: text to train with, sounds to train with, and one in the place of the other."""

from pathlib import Path

import numpy as np
import pytest
import torch

from t2a.audio.spectral import MelSpec
from t2a.audio.transform import resample
from t2a.conditions.clap import ClapAudioConfig, ClapConfig
from t2a.conditions.encoder import Sounds
from t2a.conditions.encoders import Encoders, EncodersFile
from t2a.conditions.text import T5Config
from t2a.errors import CheckpointError
from t2a.models.clap import Clap
from t2a.models.clap import ClapConfig as ModelConfig
from t2a.models.conv_tower import ConvTowerConfig
from tests.conditions import peers

CAPTIONS = ["a dog barks", "", "bell"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """As a run exports it; its text encoder is a T5 of width 12 elsewhere."""
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("clap")
    mel = MelSpec(rate=8000, n_fft=256, hop=128, n_mels=16, log="ln")
    tower = ConvTowerConfig(mel=mel, widths=(8, 16), blocks=1)
    Clap(ModelConfig(tower=tower, text_width=12, dimension=6)).save_pretrained(made)
    text = T5Config(kind="t5", name=str(peers.t5(tmp_path_factory.mktemp("t5"))))
    EncodersFile(encoders={"text": text}).write(made)
    return made


def noise(rows: int, samples: int, channels: int = 1) -> torch.Tensor:
    return 0.3 * torch.randn(rows, channels, samples, generator=torch.Generator().manual_seed(5))


def test_a_caption_is_the_vector_that_the_model_compares_with_sounds(folder):
    encoder = ClapConfig(kind="clap", name=str(folder)).build()
    tokens, mask = encoder(CAPTIONS)
    assert encoder.width == tokens.shape[2] == 6
    assert mask.tolist() == [[True], [False], [True]]
    states = EncodersFile.read(folder).encoders["text"].build()(["bell"])
    torch.testing.assert_close(tokens[2], Clap.from_pretrained(folder).text(states))


def test_token_states_are_as_many_as_the_captions_have_tokens(folder):
    encoder = ClapConfig(kind="clap", name=str(folder), form="tokens").build()
    states = EncodersFile.read(folder).encoders["text"].build()(CAPTIONS)
    tokens, mask = encoder(CAPTIONS)
    assert torch.equal(mask, states.mask)
    assert tokens.shape == (3, states.tokens.shape[1], encoder.width)
    torch.testing.assert_close(tokens, Clap.from_pretrained(folder).text_tower(states.tokens))
    assert not tokens.requires_grad


def test_a_sound_is_one_vector_whatever_its_rate_its_channels_and_its_batch_mates(folder):
    encoder, waves = ClapAudioConfig(kind="clap_audio", name=str(folder)).build(), noise(3, 18000, channels=2)
    tokens, mask = encoder(Sounds(waves, torch.tensor([18000, 0, 10000]), 16000))
    assert mask.tolist() == [[True], [False], [True]]
    wave = torch.from_numpy(np.array(resample(waves[2].mean(0, keepdim=True)[:, :10000].numpy(), 16000, 8000)))
    expected = Clap.from_pretrained(folder).audio(wave[None], torch.tensor([wave.shape[1]]))
    torch.testing.assert_close(tokens[2], expected, atol=1e-5, rtol=1e-4)


def test_theirs_and_ours_stand_behind_one_interface(folder, tmp_path):
    theirs = peers.clap(tmp_path / "theirs")
    found = {"theirs": (theirs, 8, 16), "ours": (folder, 6, 6)}
    for name, width, states in found.values():
        text, audio = ClapConfig(kind="clap", name=str(name)), ClapAudioConfig(kind="clap_audio", name=str(name))
        told = {"captions": ["bell"], "sounds": Sounds(noise(1, 8000), torch.tensor([8000]), 8000)}
        both = Encoders({"text": text, "sound": audio}, {"text": width, "sound": width})(told)
        assert both["text"].tokens.shape == both["sound"].tokens.shape == (1, 1, width)
        for vector in both.values():
            assert vector.tokens.norm().item() == pytest.approx(1, abs=1e-5)
        tokens = text.model_copy(update={"form": "tokens"}).build()(["a dog"])
        assert tokens.tokens.shape[1:] == (int(tokens.mask.sum()), states)


def test_a_model_folder_takes_the_clap_along(folder, tmp_path):
    encoders = {
        "text": ClapConfig(kind="clap", name=str(folder), form="tokens"),
        "hint": ClapAudioConfig(kind="clap_audio", name=str(folder), told_by="captions"),
        "sound": ClapAudioConfig(kind="clap_audio", name=str(folder)),
    }
    EncodersFile(encoders=encoders).write(tmp_path)
    assert str(folder) not in (tmp_path / EncodersFile.NAME).read_text()
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    kept = EncodersFile.read(moved).encoders
    assert [kept[name].reads for name in encoders] == ["captions", "captions", "sounds"]
    for name in ("text", "sound"):
        assert Path(kept[name].name).is_relative_to(moved)
        assert kept[name].fingerprint() == encoders[name].fingerprint()
    vector = ClapConfig(kind="clap", name=str(folder))
    assert kept["hint"].fingerprint() == vector.fingerprint()
    assert torch.equal(kept["hint"].build()(["bell"]).tokens, vector.build()(["bell"]).tokens)


def test_fingerprints_tell_forms_towers_and_weights_apart(folder, tmp_path):
    torch.manual_seed(1)
    other = tmp_path / "other"
    Clap(Clap.from_pretrained(folder).config).save_pretrained(other)
    EncodersFile.read(folder).write(other)
    configs = [
        ClapConfig(kind="clap", name=str(folder)),
        ClapConfig(kind="clap", name=str(folder), form="tokens"),
        ClapConfig(kind="clap", name=str(other)),
        ClapAudioConfig(kind="clap_audio", name=str(folder)),
    ]
    assert len({config.fingerprint() for config in configs}) == 4


def test_a_run_without_a_checkpoint_is_told(tmp_path):
    (tmp_path / "step_00000100").mkdir()
    with pytest.raises(CheckpointError, match="no complete checkpoint yet"):
        ClapConfig(kind="clap", name=str(tmp_path)).build()
