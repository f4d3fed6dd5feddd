"""Writing audio files."""

import numpy as np
import pytest

from t2a.audio import io
from t2a.errors import DataError


def test_a_written_file_is_whole_and_its_ending_says_the_format(tmp_path):
    wave = np.sin(np.linspace(0, 400, 16000, dtype=np.float32))[None] * 0.5
    for ending in ("wav", "flac", "ogg", "mp3"):
        io.write(tmp_path / f"x.{ending}", wave, 16000)
        again, rate = io.decode(tmp_path / f"x.{ending}")
        assert abs(again.shape[1] / rate - 1) < 0.15
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.flac", "x.mp3", "x.ogg", "x.wav"]
    with pytest.raises(DataError, match="ending"):
        io.write(tmp_path / "x.xyz", wave, 16000)
    with pytest.raises(DataError, match="cannot be written"):
        io.write(tmp_path / "no" / "x.wav", wave, 16000)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_in_pieces_is_the_wav(channels):
    wave = np.random.default_rng(0).uniform(-1.2, 1.2, (channels, 999)).astype(np.float32)
    data = io.wav_header(999, channels, 22050) + io.pcm16(wave[:, :400]) + io.pcm16(wave[:, 400:])
    whole, rate = io.decode(io.encode_wav(wave, 22050))
    joined, same = io.decode(data)
    assert (rate, same, joined.shape) == (22050, 22050, (channels, 999))
    np.testing.assert_array_equal(joined, whole)
