import numpy as np
import pytest
from typer.testing import CliRunner

from t2a.audio.io import decode, write
from t2a.cli import app
from tests.generate.tiny import HOP, RATE, build, build_diffusion

SECONDS = 40 * HOP / RATE


@pytest.fixture
def loaded(monkeypatch):
    """The precisions that were asked for; the model is a tiny one."""
    asked = []
    monkeypatch.setattr("t2a.generate.loading.load", lambda where, precision: asked.append(precision) or build())
    return asked


def test_an_audio_file_is_continued_with_a_prompt_and_without(loaded, tmp_path):
    write(tmp_path / "in.wav", 0.1 * np.random.default_rng(0).standard_normal((2, 400)).astype(np.float32), 2 * RATE)
    heard = []
    for prompt in ("rain", ""):
        out = tmp_path / "out.wav"
        options = ["--continue", tmp_path / "in.wav", "--seconds", SECONDS, "--out", out, "--precision", "bfloat16"]
        shown = CliRunner().invoke(app, ["generate", "model", prompt, *map(str, options)])
        assert shown.exit_code == 0, shown.output
        wave, rate = decode(out)
        assert (wave.shape, rate) == ((1, round(SECONDS * RATE)), RATE)
        heard.append(wave)
    np.testing.assert_allclose(heard[0][:, : 20 * HOP], heard[1][:, : 20 * HOP], atol=1e-3)
    assert not np.allclose(heard[0], heard[1], atol=1e-2)
    assert loaded == ["bfloat16"] * 2


def test_without_audio_an_empty_prompt_is_refused(loaded, tmp_path):
    told = CliRunner().invoke(app, ["generate", "model", " ", "--out", str(tmp_path / "out.wav")])
    assert told.exit_code
    assert "the prompt is empty" in str(told.exception)
    assert not loaded


@pytest.mark.parametrize(
    "command", [["generate", "model", "rain", "--out", "OUT"], ["edit", "model", "in.wav", "OUT", "rain"]]
)
def test_a_file_of_no_known_format_is_refused_before_any_work(loaded, tmp_path, command):
    told = CliRunner().invoke(app, [str(tmp_path / "out.aac") if part == "OUT" else part for part in command])
    assert "out.aac has no ending that says its format; use one of: .wav" in str(told.exception)
    assert not loaded


def test_settings_of_the_model_s_kind_reach_it_and_those_of_another_are_told(loaded, tmp_path):
    def run(*options):
        return CliRunner().invoke(app, ["generate", "model", "rain", "--seconds", str(SECONDS), *options])

    first, second = tmp_path / "first.wav", tmp_path / "second.wav"
    for out, options in ((first, ["--top-k", "1"]), (second, ["--temperature", "0", "--seed", "5"])):
        shown = run("--out", str(out), *options)
        assert shown.exit_code == 0, shown.output
    np.testing.assert_array_equal(decode(first)[0], decode(second)[0])  # both take the likeliest code
    told = run("--out", str(first), "--steps", "25")
    assert str(told.exception) == (
        "A language model has no setting steps: it knows temperature, top_k, top_p, overlap."
    )


@pytest.mark.parametrize("make", [build, build_diffusion])
def test_each_of_several_clips_has_a_file_of_its_own(monkeypatch, tmp_path, make):
    """A peer writes the clips of a batch to one name, and the last one is left."""
    generator = make()
    monkeypatch.setattr("t2a.generate.loading.load", lambda where, precision: generator)
    options = ["--count", "3", "--seed", "5", "--seconds", str(SECONDS), "--out", str(tmp_path / "out.wav")]
    shown = CliRunner().invoke(app, ["generate", "model", "rain", *options])
    assert shown.exit_code == 0, shown.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-0.wav", "out-1.wav", "out-2.wav"]
    expected = generator.generate(["rain"] * 3, SECONDS, seeds=[5, 6, 7], guidance=3.0)
    for index, clip in enumerate(expected):
        np.testing.assert_allclose(decode(tmp_path / f"out-{index}.wav")[0], clip, atol=1e-4)
    assert all(np.abs(expected[0] - other).max() > 1e-3 for other in expected[1:])


def test_a_diffusion_model_speaks_by_the_same_command(monkeypatch, tmp_path):
    monkeypatch.setattr("t2a.generate.loading.load", lambda where, precision: build_diffusion())
    options = ["--seconds", "0.0501", "--out", str(tmp_path / "out.wav"), "--sampler", "ddim", "--eta", "0.5"]
    shown = CliRunner().invoke(app, ["generate", "model", "rain", "--steps", "3", *options])
    assert shown.exit_code == 0, shown.output
    assert decode(tmp_path / "out.wav")[0].shape == (1, round(0.0501 * RATE))
    told = CliRunner().invoke(app, ["generate", "model", "rain", "--top-k", "3", *options])
    assert "A diffusion model has no setting top_k" in str(told.exception)
