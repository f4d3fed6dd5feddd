from pathlib import Path

import pytest

from t2a.errors import ConfigError, T2AError
from t2a.generate import load
from tests.train.small import RATE, untrained_codec, untrained_lm


def test_a_language_model_loads_with_its_codec_from_any_folder_of_its_run(tmp_path: Path) -> None:
    codec = untrained_codec(tmp_path / "codec")
    model = untrained_lm(tmp_path / "run" / "step_00000005" / "model", codec)
    (tmp_path / "run" / "step_00000005" / "trainer.json").touch()
    for where in (model, tmp_path / "run" / "step_00000005", tmp_path / "run"):
        generator = load(where)
        assert generator.sample_rate == RATE
        (clip,) = generator.generate(["a dog"], 0.05, seeds=[1])
        assert clip.shape == (1, round(0.05 * RATE))


def test_a_codec_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds a codec, which cannot generate from text"):
        load(untrained_codec(tmp_path / "codec"))


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(T2AError):
        load(tmp_path)
