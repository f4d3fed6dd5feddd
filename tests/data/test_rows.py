import io

import numpy as np
import pytest
import soundfile

from t2a.config import validate
from t2a.data.rows import FULL_SCALE, AudioConfig, CodesConfig, LatentsConfig
from t2a.data.schema import pack_codes, pack_latents
from t2a.data.skips import UnusableError
from t2a.errors import ConfigError

AUDIO = AudioConfig(uri="-", sample_rate=8000, crop_seconds=0.5)
CODES = CodesConfig(uri="-", codebooks=2, crop_frames=4)


def clip(wave: np.ndarray, rate: int = 8000, format: str = "FLAC", subtype: str | None = None) -> dict:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=format, subtype=subtype)
    return {"audio": {"bytes": file.getvalue(), "path": None}}


def ramp(count: int) -> np.ndarray:
    """16-bit values that name their own place."""
    return np.arange(count, dtype=np.int16)


@pytest.mark.parametrize("where", [0.0, 0.3, 0.9999])
def test_a_crop_is_an_exact_piece_of_the_clip(where):
    values, length, _ = AUDIO.example(clip(ramp(10_000)), where)
    assert values.dtype == np.int16
    assert values.shape == (1, 4000)
    assert length == 4000
    start = int(where * 6001)
    assert np.array_equal(values[0], np.arange(start, start + 4000))


def test_the_last_crop_ends_with_the_clip():
    assert AUDIO.example(clip(ramp(4001)), 0.9999).values[0, -1] == 4000


def test_a_short_clip_is_padded_and_its_length_told():
    values, length, _ = AUDIO.example(clip(ramp(1000) + 1), 0.7)
    assert length == 1000
    assert values[0, 999] == 1000
    assert not values[0, 1000:].any()


@pytest.mark.parametrize(("rate", "where"), [(44100, 0.5), (16000, 0.2), (6000, 0.8), (44100, 0.0), (44100, 0.9999)])
def test_a_resampled_crop_equals_the_crop_of_the_whole_resampled(rate, where):
    time = np.arange(2 * rate) / rate
    wave = 0.5 * np.sin(2 * np.pi * 440 * time + 0.3)
    values, length, _ = AUDIO.example(clip(wave, rate, "WAV", "FLOAT"), where)
    start = int(where * (2 * rate - 0.5 * rate + 1)) / rate
    expected = 0.5 * np.sin(2 * np.pi * 440 * (start + np.arange(4000) / 8000) + 0.3)
    inner = slice(100, -100) if where in (0.0, 0.9999) else slice(None)  # no sound beyond the clip's own ends
    assert length == 4000
    assert np.abs(values[0] / FULL_SCALE - expected)[inner].max() < 2e-3


def test_stereo_becomes_mono_by_its_mean_and_mono_becomes_stereo():
    two = np.stack([ramp(5000), 3 * ramp(5000)], axis=1)
    assert AUDIO.example(clip(two), 0.0).values[0, 1000] == 2000
    stereo = AudioConfig(uri="-", sample_rate=8000, crop_seconds=0.5, channels=2)
    assert stereo.example(clip(ramp(5000)), 0.0).values[:, 1000].tolist() == [1000, 1000]


def test_what_is_over_full_scale_is_clipped_and_not_wrapped():
    values = AUDIO.example(clip(np.full(5000, 1.5), format="WAV", subtype="FLOAT"), 0.0).values
    assert (values == FULL_SCALE - 1).all()


GOOD = clip(np.random.default_rng(0).normal(0, 0.1, 9000))["audio"]["bytes"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"audio": None}, "empty"),
        ({"audio": {"bytes": b"", "path": None}}, "empty"),
        (clip(np.zeros(0)), "empty"),
        ({"audio": {"bytes": b"no sound at all", "path": None}}, "undecodable"),
        ({"audio": {"bytes": GOOD[: len(GOOD) // 3], "path": None}}, "undecodable"),
        (clip(np.full(5000, np.nan), format="WAV", subtype="FLOAT"), "not finite"),
    ],
)
def test_an_unusable_clip_is_told_by_its_reason(row, reason):
    with pytest.raises(UnusableError, match=reason):
        AUDIO.example(row, 0.9)


def test_the_first_codebooks_are_taken_of_more():
    codes = np.arange(12).reshape(3, 4)
    assert np.array_equal(CODES.example({"codes": pack_codes(codes)}, 0.5).values, codes[:2])


def test_codes_are_cropped_and_padded_along_their_frames():
    codes = np.arange(20).reshape(2, 10) + 65000
    values, length, _ = CODES.example({"codes": pack_codes(codes)}, 0.5)
    assert np.array_equal(values, codes[:, 3:7])
    assert length == 4
    values, length, _ = CODES.example({"codes": pack_codes(codes[:, :2])}, 0.9)
    assert length == 2
    assert np.array_equal(values[:, :2], codes[:, :2])
    assert not values[:, 2:].any()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "empty"),
        ({"bytes": b"", "codebooks": 2}, "empty"),
        ({"bytes": b"abcde", "codebooks": 2}, "undecodable"),
        ({"bytes": b"abcdef", "codebooks": 1}, "1 codebooks, not 2"),
    ],
)
def test_unusable_codes_are_told_by_their_reason(cell, reason):
    with pytest.raises(UnusableError, match=reason):
        CODES.example({"codes": cell}, 0.0)


@pytest.mark.parametrize("latent", [(2,), (2, 3)])
def test_latents_are_cropped_and_padded_along_their_frames(latent):
    config = LatentsConfig(uri="-", latent=latent, crop_frames=4)
    latents = np.random.default_rng(0).standard_normal((*latent, 10)).astype(np.float16)
    values, length, start = config.example({"latents": pack_latents(latents)}, 0.5)
    assert np.array_equal(values, latents[..., 3:7])
    assert (values.dtype, length, start) == (np.float16, 4, 3)
    values, length, _ = config.example({"latents": pack_latents(latents[..., :2])}, 0.9)
    assert length == 2
    assert np.array_equal(values[..., :2], latents[..., :2])  # at the beginning: all that fills it up comes after
    assert not values[..., 2:].any()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "empty"),
        ({"bytes": b"", "shape": [2, 3]}, "empty"),
        ({"bytes": bytes(13), "shape": [2, 3]}, "undecodable"),
        ({"bytes": bytes(14), "shape": [2, 3]}, "undecodable"),
        ({"bytes": bytes(12), "shape": [6]}, r"latents of \(6,\), not \(2, 3\)"),
        ({"bytes": np.full(6, np.nan, "<f2").tobytes(), "shape": [2, 3]}, "not finite"),
    ],
)
def test_unusable_latents_are_told_by_their_reason(cell, reason):
    with pytest.raises(UnusableError, match=reason):
        LatentsConfig(uri="-", latent=(2, 3), crop_frames=4).example({"latents": cell}, 0.0)


def test_mixing_is_for_training_alone_and_for_sound():
    with pytest.raises(ConfigError, match=r"data\.mix is for the split 'train', not 'valid'"):
        validate(AudioConfig, {"uri": "-", "crop_seconds": 1, "split": "valid", "mix": {}}, "test")
    with pytest.raises(ConfigError, match="mix"):
        validate(CodesConfig, {"uri": "-", "crop_frames": 4, "mix": {}}, "test")
    with pytest.raises(ConfigError, match="give the lower bound first"):
        validate(AudioConfig, {"uri": "-", "crop_seconds": 1, "mix": {"snr_db": [5, -5]}}, "test")


@pytest.mark.parametrize(("seconds", "told"), [(1e-9, "less than one sample at 16000 Hz"), (float("inf"), "finite")])
def test_a_crop_without_samples_or_without_end_is_refused(seconds, told):
    with pytest.raises(ConfigError, match=told):
        validate(AudioConfig, {"uri": "-", "crop_seconds": seconds}, "test")
