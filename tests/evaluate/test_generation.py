"""What is measured on the clips that a language model makes."""

import math

import numpy as np
import pytest
import torch

from t2a.errors import ConfigError
from t2a.evaluate import evaluate
from t2a.evaluate.generation import Reference, measure_generation, references
from t2a.generate.loading import load
from tests.train.small import codes_corpus, untrained_codec, untrained_lm

RATE = 16000


def tone(pitch: float, seconds: float = 1.5, seed: int = 0) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    noise = 0.001 * np.random.default_rng(seed).standard_normal(len(time))
    return (0.3 * np.sin(2 * math.pi * pitch * time) + noise).astype(np.float32)[None]


class Encoders:
    def __init__(self, *reads):
        self.reads = set(reads)


class Follower:
    """Sings the melody that it is given, or a tone that its caption names, a little differently with each seed."""

    sample_rate, max_seconds = RATE, 1.0

    def __init__(self, melodious=True):
        self.encoders = Encoders("captions", *(["sounds"] if melodious else []))
        self.seeds: list[int] = []

    def generate(self, prompts, seconds, *, seeds, guidance, melody):
        assert (melody is not None) == ("sounds" in self.encoders.reads)
        self.seeds += seeds
        clips = [melody[0] if melody else tone(float(prompt), seconds) for prompt in prompts]
        return [clip + 0.001 * tone(50, seconds, seed) for clip, seed in zip(clips, seeds, strict=True)]


TONES = [Reference(str(pitch), tone(pitch)) for pitch in (220, 311, 415)]


def test_takes_that_are_all_alike_differ_less_than_the_corpus():
    follower = Follower(melodious=False)
    found = measure_generation(follower, TONES)
    assert set(found) == {"diversity/generated", "diversity/corpus"}
    assert found["diversity/generated"].high < 0.01 < found["diversity/corpus"].low
    assert len(set(follower.seeds)) == 12


def test_a_model_that_follows_melodies_is_compared_with_its_own_and_another():
    found = measure_generation(Follower(), TONES)
    assert found["chroma_cosine/its melody"].low > 0.95
    assert found["chroma_cosine/another melody"].high < 0.05
    assert found["chroma_cosine/its melody"].count == 3


def test_silent_clips_neither_differ_nor_follow_a_melody():
    class Silent(Follower):
        def generate(self, prompts, seconds, **how):
            return [np.zeros_like(clip) for clip in super().generate(prompts, seconds, **how)]

    found = measure_generation(Silent(), TONES)
    assert found["diversity/generated"].mean == 0
    assert (found["chroma_cosine/its melody"].mean, found["chroma_cosine/its melody"].count) == (0, 3)


def test_embeddings_of_a_judge_take_the_place_of_mel_bands():
    def embed(waves, rate):
        assert rate == RATE
        return np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]][: len(waves)])

    found = measure_generation(Follower(melodious=False), TONES, embed)
    assert found["diversity/generated"].mean == pytest.approx(4 / 3)


def test_one_prompt_is_too_few():
    with pytest.raises(ConfigError, match="2 prompts or more, there is 1"):
        measure_generation(Follower(), TONES[:1])


def test_a_language_model_s_clips_are_measured_beside_its_nats(tmp_path):
    model = untrained_lm(tmp_path / "lm", untrained_codec(tmp_path / "codec"))
    corpus = codes_corpus(str(tmp_path / "codes"))
    found = evaluate(model, corpus, split="valid", rows=4, generated=2)
    assert {"nats/its caption", "diversity/generated", "diversity/corpus"} <= set(found.figures)
    assert found.figures["diversity/generated"].count == 2
    assert "4 clips each for 2 prompts" in found.conditions["generated"]
    assert "generated" not in evaluate(model, corpus, split="valid", rows=4).conditions


def test_references_are_the_decoded_clips(tmp_path):
    generator = load(untrained_lm(tmp_path / "lm", untrained_codec(tmp_path / "codec")))
    codes = torch.randint(0, 16, (2, 2, 16))
    batch = {"codes": codes, "length": torch.tensor([16, 9]), "captions": ["a", "b"], "weight": torch.ones(2)}
    filler = batch | {"weight": torch.zeros(2)}
    with torch.inference_mode():
        first, second = references(generator, [filler, batch], 3)
        expected = generator.codec.decode(codes[1:, :, :9])[0].numpy()
    assert (first.caption, first.wave.shape[1]) == ("a", 16 * generator.codec.hop)
    np.testing.assert_allclose(second.wave, expected, atol=1e-6)
