import io
import warnings

import numpy as np
import pytest
import soundfile

from t2a.audio.io import AudioError, ClippedWarning, check, decode, encode_flac, encode_wav, probe
from t2a.errors import DataError


def wave_of(channels=2, samples=1600):
    return np.random.default_rng(0).uniform(-0.9, 0.9, (channels, samples)).astype(np.float32)


@pytest.mark.parametrize(("encode", "step"), [(encode_flac, 2**-15), (encode_wav, 2**-15)])
def test_sixteen_bits_come_back_to_within_a_step(encode, step):
    wave = wave_of()
    back, rate = decode(encode(wave, 16000))
    assert (back.shape, back.dtype, rate) == (wave.shape, np.float32, 16000)
    assert np.abs(back - wave).max() <= step


def test_more_exact_forms_are_more_exact():
    wave = wave_of()
    assert np.abs(decode(encode_flac(wave, 8000, bits=24))[0] - wave).max() <= 2**-23
    np.testing.assert_array_equal(decode(encode_wav(wave, 8000, sample="float"))[0], wave)


def test_encoding_is_deterministic():
    assert encode_flac(wave_of(), 16000) == encode_flac(wave_of(), 16000)


def test_what_exceeds_full_scale_is_clipped_not_wrapped():
    wave = np.array([[1.5, -1.5, 0.5]], np.float32)
    for encode in (encode_flac, encode_wav):
        np.testing.assert_allclose(decode(encode(wave, 8000))[0], [[1, -1, 0.5]], atol=1e-4)


def test_one_axis_is_mono():
    assert decode(encode_wav(np.zeros(10, np.float32) + 0.1, 8000))[0].shape == (1, 10)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_common_formats_are_decoded_from_bytes_and_from_files(tmp_path, format):
    path = tmp_path / "clip"
    soundfile.write(path, wave_of().T, 16000, format=format)
    for source in (path, str(path), path.read_bytes()):
        wave, rate = decode(source)
        assert (wave.shape[0], rate) == (2, 16000)
        assert 1600 <= wave.shape[1] <= 1600 + 2400  # MP3 appends a little silence


def test_probing_reads_the_header(tmp_path):
    (tmp_path / "clip.flac").write_bytes(encode_flac(wave_of(samples=4000), 16000))
    info = probe(tmp_path / "clip.flac")
    assert (info.rate, info.channels, info.frames, info.seconds, info.format) == (16000, 2, 4000, 0.25, "FLAC")


@pytest.mark.parametrize("data", [b"", b"not audio at all", encode_flac(wave_of(), 16000)[:30]])
def test_data_that_is_no_audio_is_told(data):
    with pytest.raises(AudioError, match="cannot be decoded") as caught:
        decode(data)
    assert caught.value.reason == "undecodable"
    assert isinstance(caught.value, DataError)


def test_a_file_is_named_in_its_error(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFFxxxx")
    (tmp_path / "x.raw").write_bytes(b"\0\0")
    for name, words in (("broken.wav", "convert it"), ("x.raw", "convert it"), ("gone.wav", "no audio file")):
        with pytest.raises(AudioError, match=words) as caught:
            decode(tmp_path / name)
        assert name in str(caught.value)


def test_audio_without_samples_is_told():
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((0, 1)), 16000, format="WAV")
    with pytest.raises(AudioError, match="no samples") as caught:
        decode(buffer.getvalue())
    assert caught.value.reason == "empty"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_told(value):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.array([0.1, value, 0.2], np.float32), 16000, format="WAV", subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite") as caught:
        decode(buffer.getvalue())
    assert caught.value.reason == "not finite"
    with pytest.raises(ValueError, match="finite"):
        encode_flac(np.array([[0.1, value]], np.float32), 16000)


@pytest.mark.parametrize("shape", [(1, 0), (1, 2, 3)])
def test_only_waves_are_encoded(shape):
    with pytest.raises(ValueError, match=r"\[C, T\]"):
        encode_wav(np.zeros(shape, np.float32), 16000)


@pytest.mark.parametrize(
    ("wave", "reason", "sentence"),
    [
        (np.zeros((1, 0)), "empty", "x.wav holds no samples"),
        (np.full((1, 9), np.nan), "not finite", "x.wav holds NaN or infinite samples"),
        (np.zeros((2, 9)), "channels", "x.wav has 2 channels, 1 are needed"),
    ],
)
def test_a_wave_that_cannot_be_used_is_told_with_its_name(wave, reason, sentence):
    with pytest.raises(AudioError, match=sentence) as caught:
        check(wave, "x.wav", channels=1)
    assert caught.value.reason == reason


def test_a_clipped_wave_is_warned_of_and_a_full_one_is_not():
    loud = np.sin(np.arange(16000) / 20)[None].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(0.999 * loud, "x.wav")
    with pytest.warns(ClippedWarning, match="x.wav is clipped: 66"):
        check(np.clip(2 * loud, -1, 1), "x.wav")
    with pytest.warns(ClippedWarning):
        check(2 * loud, "x.wav")
