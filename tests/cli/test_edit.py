import numpy as np
import pytest
from typer.testing import CliRunner

from t2a.audio.io import decode, write
from t2a.cli import app, main
from tests.generate.tiny import RATE, build, build_diffusion

SAMPLES = 1000


@pytest.fixture
def loaded(monkeypatch):
    """Models that were asked for; each is a tiny one."""
    asked = []
    made = {"denoiser": build_diffusion, "lm": build}
    monkeypatch.setattr("t2a.generate.loading.load", lambda where: asked.append(where) or made[where]())
    return asked


@pytest.fixture
def source(tmp_path):
    write(tmp_path / "in.wav", 0.1 * np.random.default_rng(0).standard_normal((1, SAMPLES)).astype(np.float32), RATE)
    return tmp_path / "in.wav"


def edited(source, *options, model="denoiser"):
    out = source.with_name("out.wav")
    command = ["edit", model, str(source), str(out), "rain", "--steps", "2", *options]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    return decode(out)[0], " ".join(shown.output.split())


@pytest.mark.parametrize(("span", "start", "end"), [(["--start", "0.03"], 480, SAMPLES), (["--end", "0.03"], 0, 480),
                                                   (["--start", "0.02", "--end", "0.04"], 320, 640)])  # fmt: skip
def test_all_outside_the_span_stays_as_it_is_and_all_within_is_new(loaded, source, span, start, end):
    before, (after, told) = decode(source)[0], edited(source, *span)
    assert after.shape == before.shape
    np.testing.assert_array_equal(after[:, :start], before[:, :start])
    np.testing.assert_array_equal(after[:, end:], before[:, end:])
    assert np.abs(after - before)[:, start:end].max() > 0.01
    assert told.endswith("out.wav: 0.0625 s, seed 0")


def test_a_seed_gives_one_sound_and_strength_is_how_far_it_goes(loaded, source):
    """Nothing is kept where there is no span."""
    first, again, other = (edited(source, "--seed", seed)[0] for seed in ("1", "1", "2"))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert not np.array_equal(edited(source, "--seed", "1", "--strength", "1")[0], first)


@pytest.mark.parametrize(
    ("model", "options", "code", "told"),
    [
        ("lm", [], 2, "lm is no diffusion model, which alone can edit: give a trained denoiser."),
        ("denoiser", ["--start", "0.04", "--end", "0.02"], 2, "The span (0.04, 0.02) does not lie within the 0.0625 s"),
        ("denoiser", ["--end", "0.07"], 2, "The span (0.0, 0.07) does not lie within the 0.0625 s"),
        ("denoiser", ["--start", "0.0625"], 2, "does not lie within the 0.0625 s of the sound"),
        ("denoiser", ["--steps", "2000"], 2, "is sampled in 1 to 1000 steps, not 2000"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_is_written(
    model, options, code, told, loaded, source, monkeypatch, capsys
):
    out = source.with_name("out.wav")
    monkeypatch.setattr("sys.argv", ["t2a", "edit", model, str(source), str(out), "rain", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().err
    assert ended.value.code == code
    assert shown.startswith("error:")
    assert told in shown
    assert not out.exists()


def test_a_folder_that_is_not_there_is_told_before_a_model_is_loaded(loaded, source, tmp_path):
    shown = CliRunner().invoke(app, ["edit", "denoiser", str(source), f"{tmp_path}/no/out.wav", "rain"])
    assert shown.exit_code
    assert "there is no folder" in str(shown.exception)
    assert not loaded
