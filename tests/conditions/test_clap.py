from pathlib import Path

import numpy as np
import pytest
import torch

from t2a.audio.transform import resample
from t2a.conditions.clap import Clap, ClapAudioConfig, ClapConfig, ClapTextConfig
from t2a.conditions.encoder import Sounds
from tests.conditions import peers


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return peers.clap(tmp_path_factory.mktemp("clap"))


def noise(rows: int, samples: int, channels: int = 1) -> torch.Tensor:
    return 0.3 * torch.randn(rows, channels, samples, generator=torch.Generator().manual_seed(5))


def test_a_caption_is_the_one_vector_of_the_text_tower(folder):
    from transformers import AutoTokenizer, ClapModel

    encoder = ClapConfig(kind="clap", name=str(folder)).build()
    tokens, mask = encoder(["a dog barks", "", "bell"])
    assert encoder.width == 8
    assert mask.tolist() == [[True], [False], [True]]
    inputs = AutoTokenizer.from_pretrained(folder)(["bell"], return_tensors="pt")
    expected = ClapModel.from_pretrained(folder).eval().get_text_features(**inputs).pooler_output
    torch.testing.assert_close(tokens[2], expected, atol=1e-5, rtol=0)


def test_a_text_tower_by_itself_gives_the_vectors_that_it_gives_beside_the_other(folder, tmp_path):
    from transformers import ClapTextModelWithProjection

    ClapTextModelWithProjection.from_pretrained(folder).save_pretrained(tmp_path)
    peers.tokenizer(tmp_path)
    alone, both = ClapTextConfig(kind="clap_text", name=str(tmp_path)), ClapConfig(kind="clap", name=str(folder))
    captions = ["a dog barks", "", "bell"]
    found, expected = alone.build()(captions), both.build()(captions)
    assert torch.equal(found.mask, expected.mask)
    torch.testing.assert_close(found.tokens, expected.tokens, atol=1e-6, rtol=0)
    assert alone.build().width == 8


def test_a_sound_is_the_one_vector_of_the_audio_tower(folder):
    from transformers import AutoFeatureExtractor, ClapModel

    encoder, waves = ClapAudioConfig(kind="clap_audio", name=str(folder)).build(), noise(3, 9000, channels=2)
    tokens, mask = encoder(Sounds(waves, torch.tensor([9000, 0, 5000]), 16000))
    assert mask.tolist() == [[True], [False], [True]]
    wave = resample(waves[2].mean(0, keepdim=True)[:, :5000].numpy(), 16000, 8000)[0]
    inputs = AutoFeatureExtractor.from_pretrained(folder)(wave, sampling_rate=8000, return_tensors="pt")
    model = ClapModel.from_pretrained(folder).eval()
    expected = model.get_audio_features(inputs["input_features"].float(), is_longer=torch.zeros(1, 1).bool())
    torch.testing.assert_close(tokens[2], expected.pooler_output, atol=1e-5, rtol=0)


def test_of_a_long_sound_the_middle_is_heard_whatever_numpy_s_generator_says(folder):
    encoder, waves = ClapAudioConfig(kind="clap_audio", name=str(folder)).build(), noise(1, 24000)
    found = []
    for seed in (1, 2):
        np.random.seed(seed)
        found.append(encoder(Sounds(waves, torch.tensor([24000]), 8000)).tokens)
    middle = encoder(Sounds(waves[..., 8000:16000], torch.tensor([8000]), 8000)).tokens
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], middle)


def test_the_score_is_the_cosine_of_both_vectors(folder):
    judge, sounds = Clap(str(folder)), Sounds(noise(2, 8000), torch.tensor([8000, 8000]), 8000)
    text = ClapConfig(kind="clap", name=str(folder)).build()(["a dog barks", "rain"]).tokens[:, 0]
    scores = judge.scores(["a dog barks", "rain"], sounds)
    torch.testing.assert_close(scores, torch.cosine_similarity(text, judge.sounds(sounds)))
    assert judge.scores(["", "rain"], sounds)[0] == 0


def test_fingerprints_tell_the_towers_apart(folder):
    text, audio = ClapConfig(kind="clap", name=str(folder)), ClapAudioConfig(kind="clap_audio", name=str(folder))
    assert len({text.fingerprint(), audio.fingerprint()}) == 2


def test_token_states_are_those_below_the_vector(folder):
    from transformers import AutoTokenizer, ClapModel

    encoder = ClapConfig(kind="clap", name=str(folder), form="tokens").build()
    tokens, mask = encoder(["a dog barks", "bell"])
    inputs = AutoTokenizer.from_pretrained(folder)(["bell"], return_tensors="pt")
    expected = ClapModel.from_pretrained(folder).eval().text_model(**inputs).last_hidden_state[0]
    torch.testing.assert_close(tokens[1, : len(expected)], expected, atol=1e-5, rtol=0)
    assert mask.sum(1).tolist() == [3, 1]
    assert encoder.width == 16
