"""How a training under Ray ends before its last step: asked to by a signal, or for a reason that a user can act on."""

import os
import signal
from pathlib import Path

import pytest

from jobs.train import main
from t2a.config import dump
from t2a.errors import DataError, InterruptionError
from t2a.train.checkpoint import newest_complete
from t2a.train.run import Run
from tests.cluster.history import check_exactly_once
from tests.cluster.test_faults import once
from tests.train.small import audio_corpus, codec_run

pytestmark = pytest.mark.ray


def written(run: Run, folder: Path) -> str:
    recipe = folder / "recipe.yaml"
    recipe.write_text(dump(run))
    return str(recipe)


def test_a_terminated_training_saves_and_goes_on_with_the_same_command(local_ray, tmp_path: Path, capfd) -> None:
    run = codec_run(
        str(tmp_path / "runs"),
        audio_corpus(str(tmp_path / "corpus")),
        steps=9999,
        checkpoint={"every": 5, "keep": 9999},
        eval=None,
    )
    striker = once(run, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert main(written(run, tmp_path)) == InterruptionError.exit_code
    striker.join(timeout=1)
    saved = newest_complete(run.folder)
    told = capfd.readouterr().err
    assert f"codec was asked to end after step {saved.step} of 9999; the same command goes on from {saved.uri}" in told

    rest = run.model_copy(update={"steps": saved.step + 2})
    assert main(written(rest, tmp_path)) == 0
    check_exactly_once(rest)


def test_unusable_rows_in_a_worker_reach_the_user_as_one_sentence(local_ray, tmp_path: Path, capfd) -> None:
    corpus = audio_corpus(str(tmp_path / "corpus"), broken=(7, 8))
    run = codec_run(str(tmp_path / "runs"), corpus)
    run = run.model_copy(update={"data": run.data.model_copy(update={"max_skipped": 0.0})})
    assert main(written(run, tmp_path)) == DataError.exit_code
    told = capfd.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"{corpus}: ")
    assert "rows are unusable" in told
    assert "undecodable (tone-" in told
