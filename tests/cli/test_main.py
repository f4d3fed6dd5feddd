"""The command line: help to work from, errors as sentences, exit codes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from t2a.audio.io import write
from t2a.cli import app
from tests.train.small import audio_corpus, untrained_codec

VERBS = [
    "prepare",
    "train",
    "tune",
    "evaluate",
    "generate",
    "edit",
    "compress",
    "decompress",
    "serve",
    "info",
    "register",
    "import",
    "export",
]


def t2a(*arguments, **options):
    command = [sys.executable, "-m", "t2a.cli", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, **options)


def test_help_names_every_verb():
    shown = t2a("--help")
    assert shown.returncode == 0
    assert not [verb for verb in VERBS if verb not in shown.stdout]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb):
    shown = CliRunner().invoke(app, [verb, "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.stdout


def test_a_wrong_recipe_is_told_at_once_without_a_traceback(tmp_path):
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text("name: x\nstepz: 3\ntask: {kind: codex}\nbatch_size: -1\n")
    told = t2a("train", recipe, "workers=zero")
    assert told.returncode == 2
    assert "Traceback" not in told.stderr
    for words in ("stepz", "did you mean steps?", "codex", "batch_size", "workers"):
        assert words in told.stderr, words


@pytest.mark.parametrize("recipe", ["codec-small", "codec-16khz", "lm-small", "musicgen-large", "entropy-small"])
def test_every_recipe_resolves_and_its_text_resolves_to_itself(recipe, tmp_path):
    shown = t2a("train", f"jobs/recipes/{recipe}.yaml", "steps=7", "--show")
    assert shown.returncode == 0, shown.stderr
    assert "steps: 7" in shown.stdout
    (tmp_path / "again.yaml").write_text(shown.stdout)
    assert t2a("train", tmp_path / "again.yaml", "--show").stdout == shown.stdout


def test_a_missing_model_is_one_sentence(tmp_path):
    told = t2a("generate", tmp_path / "nowhere", "a dog barks", "--out", tmp_path / "x.wav")
    assert told.returncode == 1
    assert told.stderr.startswith("error:")
    assert "Traceback" not in told.stderr


def test_a_damaged_file_is_decompressed_as_far_as_it_goes_and_told(tmp_path):
    model = untrained_codec(tmp_path / "codec")
    write(tmp_path / "in.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (1, 24000)).astype(np.float32), 8000)
    run = CliRunner().invoke
    made = run(app, [*f"compress {tmp_path}/in.wav {tmp_path}/x --model {model} --chunk-seconds 1".split()])
    assert made.exit_code == 0, made.output
    data = bytearray((tmp_path / "x").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "x").write_bytes(data)
    told = t2a("decompress", tmp_path / "x", tmp_path / "out.wav")
    assert told.returncode == 1
    assert "is damaged at 1.00 to 2.00 s" in told.stderr
    assert "Traceback" not in told.stderr
    part = run(app, ["decompress", f"{tmp_path}/x", f"{tmp_path}/part.wav", "--start", "2.25", "--end", "3"])
    assert part.exit_code == 0, part.output
    assert (len(read_wave(tmp_path / "out.wav")), len(read_wave(tmp_path / "part.wav"))) == (24000, 6000)


def read_wave(path):
    return soundfile.read(path)[0]


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    told = t2a("generate", tmp_path / "nowhere", "a dog barks", "--out", tmp_path / "no" / "x.wav")
    assert told.returncode == 2
    assert "no folder" in told.stderr


def test_a_folder_of_sounds_becomes_a_corpus_that_info_describes(tmp_path):
    (tmp_path / "sounds").mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for index in range(12):
        write(tmp_path / "sounds" / f"{index}.wav", rng.uniform(-0.5, 0.5, (1, 8000)).astype(np.float32), 16000)
        lines.append(json.dumps({"audio": f"{index}.wav", "caption": f"Noise number {index}."}))
    (tmp_path / "sounds" / "captions.jsonl").write_text("\n".join(lines))
    made = t2a("prepare", "folder", tmp_path / "sounds", tmp_path / "corpus")
    assert made.returncode == 0, made.stderr
    assert "12 clips" in made.stdout
    described = t2a("info", tmp_path / "corpus")
    assert described.returncode == 0, described.stderr
    assert "corpus of audio" in " ".join(described.stdout.split())
    refused = t2a("prepare", "folder", tmp_path / "sounds", tmp_path / "corpus")
    assert refused.returncode == 1
    assert "overwrite" in refused.stderr


def test_a_codec_is_evaluated_into_tables_json_and_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr("t2a.report.codec.SOUNDS", 1)
    codec, corpus = untrained_codec(tmp_path / "codec"), audio_corpus(str(tmp_path / "corpus"), rows=24)
    files = {"--out": tmp_path / "figures.json", "--report": tmp_path / "page.html"}
    options = ["--split", "valid", "--rows", "3", "--listened", "0", *(str(x) for pair in files.items() for x in pair)]
    shown = CliRunner().invoke(app, ["evaluate", codec, corpus, *options])
    assert shown.exit_code == 0, shown.output
    for words in ("codec, 1 of 2 codebooks", "Opus, 6 kbit/s", "si_snr", "perplexity", "seconds of sound in a second"):
        assert words in shown.output, words
    found = json.loads(files["--out"].read_text())
    assert found["figures"]["si_snr/codec"]["count"] == 3
    assert found["conditions"]["clips"] == 3
    assert "<audio" in files["--report"].read_text()


def test_models_are_compared_only_before_a_judge():
    told = CliRunner().invoke(app, ["evaluate", "model", "corpus", "--against", "other"])
    assert "which a judge has to hear: give --judge" in str(told.exception)
