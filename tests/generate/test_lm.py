import math
import warnings

import numpy as np
import pytest
import torch

from t2a.conditions.encoder import Sounds
from t2a.errors import CheckpointError, ConfigError, DataError
from t2a.generate.lm import LMGenerator
from t2a.generate.loading import load
from t2a.models.lm import ConditionConfig
from t2a.tokens.patterns import NAMED, layout
from t2a.tokens.sampling import Sampling
from tests.generate.tiny import HOP, RATE, Letters, build

SECONDS = 20 * HOP / RATE


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("pattern", ["parallel", "delay"])
@pytest.mark.parametrize("fuse", [("prepend",), ("cross",), ("prepend", "cross")])
def test_a_prompt_gives_the_same_clip_alone_and_in_any_batch(fuse, pattern, guidance):
    generator = build(fuse=fuse, pattern=pattern, positions="rotary" if pattern == "delay" else "sinusoidal")
    prompts, seeds = ["rain", "a long train passes by", ""], [5, 6, 7]
    how = Sampling(guidance, top_k=0)
    together = generator.codes(prompts, 20, seeds, how)
    for row in range(3):
        alone = generator.codes(prompts[row : row + 1], 20, seeds[row : row + 1], how)
        assert torch.equal(alone[0], together[row])
    clips = generator.generate(prompts, SECONDS, seeds=seeds, guidance=guidance)
    alone = generator.generate(prompts[1:2], SECONDS, seeds=seeds[1:2], guidance=guidance)
    np.testing.assert_allclose(alone[0], clips[1], atol=1e-5)


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
@pytest.mark.parametrize("pattern", [*NAMED, (0, 1, 1), (((1,),), ((0,), (2,)))])
@pytest.mark.parametrize("fuse", [("prepend",), ("cross", "sum")])
def test_greedy_codes_are_the_uncached_forward_s_best(fuse, pattern, positions):
    generator, prompts = build(fuse=fuse, pattern=pattern, positions=positions), ["rain", "dogs bark"]
    codes = generator.codes(prompts, 12, [0, 0], Sampling(1.0, temperature=0.0))
    placed, special = layout(pattern, 3, 12), generator.model.special
    targets = placed.build(codes, special)
    inputs = torch.cat([torch.full_like(targets[:, :, :1], special), targets[:, :, :-1]], dim=2)
    with torch.no_grad():
        best = generator.model(inputs, {"text": Letters()(prompts)}).argmax(-1)
    assert torch.equal(placed.revert(best), codes)


def test_seeds_reproduce_and_differ_and_the_text_matters():
    generator = build()
    how = Sampling(top_k=0)
    codes = generator.codes(["rain"] * 3, 20, [1, 1, 2], how)
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[0], codes[2])
    assert not torch.equal(codes[:1], generator.codes(["a dog"], 20, [1], how))


def sing(pitch: float, seconds: float = 0.5, rate: int = RATE) -> tuple[np.ndarray, int]:
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate, dtype=np.float32)[None], rate


def with_melody() -> LMGenerator:
    prepend = {name: ConditionConfig(width=w, fuse=("prepend",)) for name, w in (("melody", 12), ("text", 6))}
    return build(conditions=prepend)


def test_a_melody_is_followed_with_text_and_without():
    generator = with_melody()
    how = Sampling(temperature=0.0)
    for prompt in ("rain", ""):
        low, high, none = (
            generator.codes([prompt] * 2, 20, [1, 1], how, melody=melody) for melody in (sing(220), sing(311), None)
        )
        assert torch.equal(low[0], low[1])
        assert len({tuple(codes[0].flatten().tolist()) for codes in (low, high, none)}) == 3
    doubled = generator.codes([""] * 2, 20, [1, 1], how, melody=sing(220, rate=2 * RATE))
    assert torch.equal(doubled, generator.codes([""] * 2, 20, [1, 1], how, melody=sing(220)))


def test_a_guided_melody_stands_beside_a_row_that_is_told_nothing():
    generator = with_melody()
    codes = generator.codes(["rain"], 1, [0], Sampling(4.0, temperature=0.0), melody=sing(220))
    wave, rate = sing(220)
    told = {
        "text": Letters()(["rain"]),
        "melody": generator.encoders.get("melody")(
            Sounds(torch.from_numpy(wave)[None], torch.tensor([wave.shape[1]]), rate)
        ),
    }
    first = torch.full((1, 3, 1), generator.model.special)
    with torch.no_grad():
        all_of_it, nothing = (generator.model(first, c).log_softmax(-1) for c in (told, None))
    assert codes[0, 0, 0] == (4 * all_of_it - 3 * nothing)[0, 0, 0].argmax()


def test_a_model_without_melodies_and_a_melody_that_is_none_are_told():
    with pytest.raises(ConfigError, match="trained without melodies"):
        build().generate(["rain"], SECONDS, seeds=[0], melody=sing(220))
    with pytest.raises(DataError, match="The melody holds NaN"):
        with_melody().generate(["rain"], SECONDS, seeds=[0], melody=(np.full((1, 9), np.nan, np.float32), RATE))


def test_the_global_generator_is_neither_used_nor_moved():
    generator, state = build(), torch.get_rng_state()
    first = generator.generate(["rain"], SECONDS, seeds=[1])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    np.testing.assert_array_equal(generator.generate(["rain"], SECONDS, seeds=[1])[0], first[0])


@pytest.mark.parametrize(
    ("guidance", "prompt", "rows"), [(3.0, "rain", 4), (1.0, "rain", 2), (0.0, "rain", 2), (3.0, "", 2)]
)
def test_only_guided_text_costs_a_second_pass(monkeypatch, guidance, prompt, rows):
    generator, seen = build(), []
    advance = generator.model.advance
    monkeypatch.setattr(
        generator.model, "advance", lambda codes, state: seen.append(len(codes)) or advance(codes, state)
    )
    generator.generate([prompt] * 2, SECONDS, seeds=[0, 1], guidance=guidance)
    assert set(seen) == {rows}


def test_guidance_combines_conditional_and_null_predictions():
    generator = build()
    codes = generator.codes(["rain"], 1, [0], Sampling(4.0, temperature=0.0))
    first = torch.full((1, 3, 1), generator.model.special)
    with torch.no_grad():
        text = generator.model(first, {"text": Letters()(["rain"])}).log_softmax(-1)
        null = generator.model(first, None).log_softmax(-1)
    assert codes[0, 0, 0] == (4 * text - 3 * null)[0, 0, 0].argmax()


@pytest.mark.parametrize("seconds", [1 / RATE, 0.0101, 0.02, 60 * HOP / RATE])
def test_clips_are_exactly_as_long_as_asked_and_within_range(seconds):
    clips = build().generate(["rain", "wind"], seconds, seeds=[0, 1])
    for clip in clips:
        assert clip.shape == (1, round(seconds * RATE))
        assert clip.dtype == np.float32
        assert np.abs(clip).max() <= 1


def with_output(generator: LMGenerator, wave: torch.Tensor, monkeypatch) -> np.ndarray:
    monkeypatch.setattr(generator.codec, "decode", lambda codes, length: wave[None, None, :length])
    return generator.generate(["rain"], SECONDS, seeds=[0])[0][0]


def test_a_loud_clip_is_scaled_and_a_normal_one_left_alone(monkeypatch):
    generator, wave = build(), torch.linspace(-2, 2, 160)
    np.testing.assert_allclose(with_output(generator, wave, monkeypatch), wave.numpy() / 2)
    np.testing.assert_array_equal(with_output(generator, wave / 4, monkeypatch), wave.numpy() / 4)


def test_silence_is_told_and_sound_is_not(monkeypatch):
    generator = build()
    with pytest.warns(UserWarning, match="'rain' is silent"):
        with_output(generator, torch.zeros(160), monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with_output(generator, torch.full((160,), 0.01), monkeypatch)


def test_a_broken_model_is_told(monkeypatch):
    with pytest.raises(CheckpointError, match="not finite"):
        with_output(build(), torch.full((160,), torch.nan), monkeypatch)


def test_progress_counts_every_step():
    told = []
    build(pattern="delay").generate(["rain"], SECONDS, seeds=[0], progress=lambda *count: told.append(count))
    assert told == [(step + 1, 22) for step in range(22)]


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan, math.inf, 1e9, 1e-9])
def test_impossible_durations_are_refused(seconds):
    with pytest.raises(ConfigError, match="ask for"):
        build().generate(["rain"], seconds, seeds=[0])


@pytest.mark.parametrize(
    ("prompts", "changes", "told"),
    [
        ([], {}, "no prompt"),
        (["a", "b"], {}, "2 prompts but 1 seeds"),
        (["a"], {"seeds": [-1]}, "between 0 and 2"),
        (["a"], {"temperature": -1}, "temperature is -1"),
        (["a"], {"guidance": math.nan}, "guidance is nan"),
        (["a"], {"top_p": 1.5}, "top_p is 1.5"),
        (["a"], {"top_k": -3}, "top_k is -3"),
    ],
)
def test_settings_that_mean_nothing_are_refused(prompts, changes, told):
    with pytest.raises(ConfigError, match=told):
        build().generate(prompts, SECONDS, **({"seeds": [0]} | changes))


def test_a_codec_alone_cannot_generate(tmp_path):
    build().codec.save_pretrained(tmp_path / "codec")
    with pytest.raises(ConfigError, match="holds a codec, which cannot generate"):
        load(tmp_path / "codec")


def test_a_language_model_without_its_codec_is_told(tmp_path):
    build().model.save_pretrained(tmp_path / "lm")
    with pytest.raises(CheckpointError, match="no codec"):
        load(tmp_path / "lm")
