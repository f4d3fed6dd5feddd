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
