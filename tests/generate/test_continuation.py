import numpy as np
import pytest
import torch

from t2a.errors import CheckpointError, ConfigError, DataError
from t2a.generate.continuation import prompt_codes
from t2a.generate.lm import LMGenerator
from tests.generate.tiny import HOP, RATE, build

SECONDS = 40 * HOP / RATE


def noise(frames: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    samples = round(frames * HOP * rate / RATE)
    return 0.1 * np.random.default_rng(0).standard_normal((channels, samples)).astype(np.float32)


@pytest.mark.parametrize("prompt", ["rain", ""])
@pytest.mark.parametrize("causal", [False, True])
def test_a_clip_begins_with_the_decoded_audio_and_goes_on(prompt, causal):
    generator = build(codec={"causal": causal})
    wave = noise(12.7)
    codes = generator.codec.encode(torch.from_numpy(wave[None, :, : 12 * HOP]))
    assert torch.equal(prompt_codes(generator.codec, wave, RATE, 60, 40), codes)
    clips = [generator.generate([prompt], SECONDS, seeds=[seed], beginning=(wave, RATE))[0] for seed in (0, 1)]
    decoded = generator.codec.decode(codes)[0].detach().numpy()
    heard = decoded.shape[1] - (0 if causal else 40)  # without the last samples, which the future changes
    np.testing.assert_allclose(clips[0][:, :heard], decoded[:, :heard], atol=1e-5)
    assert clips[0].shape == (1, round(SECONDS * RATE))
    assert not np.allclose(clips[0][:, 13 * HOP :], clips[1][:, 13 * HOP :])


def test_what_is_given_changes_what_follows_and_is_the_same_alone_and_in_a_batch():
    generator = build()
    beginnings = [(noise(12), RATE), (-noise(12), RATE)]
    first, second = (generator.generate(["rain", "wind"], SECONDS, seeds=[0, 1], beginning=b) for b in beginnings)
    alone = generator.generate(["wind"], SECONDS, seeds=[1], beginning=beginnings[0])
    np.testing.assert_allclose(alone[0], first[1], atol=1e-5)
    assert not np.allclose(first[0][:, 13 * HOP :], second[0][:, 13 * HOP :])


def test_a_codec_may_have_more_codebooks_than_the_model():
    generator = build(codec={"quantizer": {"codebooks": 5, "bins": 32}})
    wave = noise(12)
    codes = generator.codec.encode(torch.from_numpy(wave[None]))[:, :3]
    (clip,) = generator.generate(["rain"], SECONDS, seeds=[0], beginning=(wave, RATE))
    decoded = generator.codec.decode(codes)[0].detach().numpy()[:, : 12 * HOP - 40]
    np.testing.assert_allclose(clip[:, : decoded.shape[1]], decoded, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channels_are_brought_to_the_codec_s(rate, channels):
    generator = build()
    found = prompt_codes(generator.codec, noise(25.5, rate, channels), rate, 60, 40)
    assert found.shape == (1, 3, 25)


def test_a_continuation_goes_beyond_the_window():
    (clip,) = build(max_frames=20).generate(["rain"], SECONDS, seeds=[0], beginning=(noise(15), RATE))
    assert clip.shape[1] == round(SECONDS * RATE)


@pytest.mark.parametrize(
    ("wave", "rate", "error", "told"),
    [
        (noise(60), RATE, ConfigError, "shorter than the 0.03 s that the model reads: give its last part"),
        (noise(45), RATE, ConfigError, "shorter than the 0.02 s that the clip has: ask for more seconds"),
        (noise(0.9), RATE, ConfigError, "less than one frame"),
        (noise(10)[0], RATE, ConfigError, "must be a wave"),
        (noise(10), 0, ConfigError, "at a rate above 0"),
        (noise(0), RATE, DataError, "holds no samples"),
        (np.full((1, 400), np.nan, np.float32), RATE, DataError, "holds NaN"),
    ],
)
def test_audio_that_cannot_be_continued_is_refused_before_any_work(monkeypatch, wave, rate, error, told):
    generator = build()
    monkeypatch.setattr(generator.model, "start", lambda *_: pytest.fail("worked"))
    monkeypatch.setattr(generator.codec, "encode", lambda *_: pytest.fail("worked"))
    for make in (
        lambda: generator.generate(["rain"], SECONDS, seeds=[0], beginning=(wave, rate)),
        lambda: generator.stream("rain", SECONDS, seed=0, beginning=(wave, rate)),
    ):
        with pytest.raises(error, match=told):
            make()


def test_channels_are_not_invented():
    generator = build(codec={"channels": 8})
    with pytest.raises(ConfigError, match="does not fit the codec: cannot make 8 channels out of 2"):
        prompt_codes(generator.codec, noise(10, channels=2), RATE, 60, 40)


def test_a_codec_of_other_codes_is_refused():
    for changes, told in (
        ({"quantizer": {"codebooks": 2, "bins": 32}}, "has 3 codebooks, the codec beside it gives 2"),
        ({"quantizer": {"codebooks": 3, "bins": 64}}, "has 32 bins, the codec beside it gives 64"),
        ({"normalise": True}, "normalises the loudness"),
    ):
        with pytest.raises(CheckpointError, match=told):
            build(codec=changes)
    assert isinstance(build(), LMGenerator)
