import numpy as np
import pytest
from typer.testing import CliRunner

from t2a.audio.io import decode, probe, write
from t2a.cli import app
from tests.train.small import untrained_codec

RATE, SECONDS = 8000, 3


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> str:
    return untrained_codec(tmp_path_factory.mktemp("models") / "codec")


@pytest.fixture
def source(tmp_path):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (1, SECONDS * RATE)).astype(np.float32)
    write(tmp_path / "in.wav", wave, RATE)
    return tmp_path / "in.wav"


def run(*arguments) -> str:
    shown = CliRunner().invoke(app, [*map(str, arguments)])
    assert shown.exit_code == 0, shown.output
    return " ".join(shown.output.split())


def refused(*arguments) -> str:
    shown = CliRunner().invoke(app, [*map(str, arguments)])
    assert shown.exit_code
    return str(shown.exception)


def test_a_sound_goes_into_a_small_file_and_comes_back_as_long_as_it_was(source, codec, tmp_path):
    small = tmp_path / "x.t2a"
    told = run("compress", source, small, "--model", codec)
    size = small.stat().st_size
    assert size < source.stat().st_size / 5
    assert f"x.t2a: {size:,} bytes, {source.stat().st_size / size:.1f} times smaller than" in told
    assert run("decompress", small, tmp_path / "out.wav").endswith("out.wav: 3.00 s")
    assert probe(tmp_path / "out.wav").seconds == SECONDS


def test_a_part_is_that_part_of_the_whole(source, codec, tmp_path):
    run("compress", source, tmp_path / "x", "--model", codec, "--chunk-seconds", "1")
    run("decompress", tmp_path / "x", tmp_path / "whole.wav")
    told = run("decompress", tmp_path / "x", tmp_path / "part.wav", "--start", "1.5", "--end", "2.25")
    assert told.endswith("part.wav: 0.75 s")
    whole, part = (decode(tmp_path / name)[0] for name in ("whole.wav", "part.wav"))
    np.testing.assert_allclose(part, whole[:, round(1.5 * RATE) : round(2.25 * RATE)], atol=2e-4)


def test_fewer_codebooks_are_fewer_bytes_and_one_at_least_is_wanted(source, codec, tmp_path):
    run("compress", source, tmp_path / "all", "--model", codec)
    run("compress", source, tmp_path / "one", "--model", codec, "--codebooks", "1")
    assert (tmp_path / "one").stat().st_size < 0.7 * (tmp_path / "all").stat().st_size
    assert CliRunner().invoke(app, ["compress", str(source), "x", "--model", codec, "--codebooks", "0"]).exit_code == 2


def test_a_part_of_a_file_of_encodec_is_not_to_be_had(tmp_path):
    (tmp_path / "x.ecdc").write_bytes(b"ECDC and more")
    for options in (["--start", "1"], ["--end", "0"], ["--entropy", "model"]):
        told = refused("decompress", tmp_path / "x.ecdc", tmp_path / "out.wav", *options)
        assert "x.ecdc is an ECDC file: --entropy, --start and --end are for those of t2a compress" in told
    assert not (tmp_path / "out.wav").exists()


def test_a_folder_that_is_not_there_is_told_before_any_work(source, tmp_path):
    for verb in ("compress", "decompress"):
        assert "there is no folder" in refused(verb, source, tmp_path / "no" / "x", "--model", "nowhere")
