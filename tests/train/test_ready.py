from pathlib import Path

import pytest

from t2a.errors import ConfigError, DataError, StorageError
from t2a.generate.codes import precompute_codes
from t2a.train.ready import check_ready
from tests.train.small import (
    audio_corpus,
    autoencoder_run,
    codec_run,
    codes_corpus,
    lm_run,
    untrained_codec,
    vocoder_run,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    return audio_corpus(str(tmp_path_factory.mktemp("ready") / "corpus"), rows=12)


def test_a_good_run_passes(corpus: str, tmp_path: Path) -> None:
    check_ready(codec_run(str(tmp_path), corpus))


def test_a_corpus_that_is_missing_or_of_another_kind_is_told(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        check_ready(codec_run(str(tmp_path), str(tmp_path / "nowhere")))
    codes = codes_corpus(str(tmp_path / "codes"), rows=6)
    with pytest.raises(DataError, match="holds codes, the recipe asks for audio"):
        check_ready(codec_run(str(tmp_path), codes))
    with pytest.raises(DataError, match=r"has no split 'test' \(it has: train, valid\); change eval.split"):
        check_ready(codec_run(str(tmp_path), corpus, eval={"split": "test"}))


def test_sound_that_the_codec_cannot_encode_is_told(corpus: str, tmp_path: Path) -> None:
    codec = untrained_codec(tmp_path / "codec")
    data = {"kind": "audio", "uri": corpus, "sample_rate": 8000, "crop_seconds": 0.064}
    check_ready(lm_run(str(tmp_path), corpus, codec, {"kind": "minilm"}, data=data))
    for wrong, told in (
        ({"sample_rate": 16000}, "data.sample_rate is 16000, .* codes 8000"),
        ({"channels": 2}, "is 2"),
    ):
        with pytest.raises(ConfigError, match=told):
            check_ready(lm_run(str(tmp_path), corpus, codec, {"kind": "minilm"}, data=data | wrong))


def test_channels_that_the_codec_codes_one_by_one_are_those_of_the_model(corpus: str, tmp_path: Path) -> None:
    codec, model = untrained_codec(tmp_path / "codec"), {"codebooks": 4, "bins": 16, "max_frames": 16, "channels": 2}
    model |= {"width": 32, "layers": 1, "heads": 2}
    task = {"kind": "lm", "model": model, "encoders": {"text": {"kind": "minilm"}}, "codec": codec}
    sound = {"kind": "audio", "uri": corpus, "sample_rate": 8000, "crop_seconds": 0.064, "channels": 2}
    check_ready(lm_run(str(tmp_path), corpus, codec, {}, task=task, data=sound))
    for channels, codebooks in ((1, 2), (2, 4)):
        precompute_codes(corpus, uri := str(tmp_path / f"codes-{channels}"), codec, channels=channels)
        data = {"kind": "codes", "uri": uri, "codebooks": codebooks, "crop_frames": 4}
        own = task | {"model": model | {"channels": channels, "codebooks": codebooks}}
        check_ready(lm_run(str(tmp_path), corpus, codec, {}, task=own, data=data))
    mono = task | {"model": model | {"channels": 1, "codebooks": 2}}
    with pytest.raises(ConfigError, match=r"are of 2 channels, coded one by one, the model is for 1: prepare"):
        check_ready(lm_run(str(tmp_path), corpus, codec, {}, task=mono, data=data | {"codebooks": 2}))


def test_an_out_that_cannot_be_written_is_told(corpus: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        check_ready(codec_run(str(tmp_path / "file"), corpus))


@pytest.mark.parametrize(
    ("kind", "seconds", "told"),
    [
        ("codec", 0.02, "is 0.02, 160 samples, but task.critic judges 256 at once: raise data.crop_seconds"),
        ("vocoder", 0.002, "16 samples, but task.critic judges 65 at once"),
        ("autoencoder", 0.05, "7 mel frames, but task.critic judges 16 at once"),
    ],
)
def test_crops_that_are_shorter_than_a_critic_s_window_are_told(corpus, tmp_path, kind, seconds, told) -> None:
    vocos = {"kind": "vocos", "width": 8, "hidden": 8, "layers": 1}
    runs = {
        "codec": lambda **data: codec_run(str(tmp_path), corpus, **data),
        "vocoder": lambda **data: vocoder_run(str(tmp_path), corpus, vocos, "hinge", **data),
        "autoencoder": lambda **data: autoencoder_run(
            str(tmp_path), corpus, {"windows": [16], "width": 4, "layers": 2}, {}, **data
        ),
    }
    check_ready(runs[kind]())
    short = {"kind": "audio", "uri": corpus, "sample_rate": 8000, "crop_seconds": seconds, "window": 8}
    with pytest.raises(ConfigError, match=told):
        check_ready(runs[kind](data=short))
