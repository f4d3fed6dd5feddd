"""What the driver makes of a run folder that is there already; nothing here starts Ray."""

from pathlib import Path
from typing import Any

import pytest
import ray

from t2a.errors import ConfigError
from t2a.generate.latents import precompute_latents
from t2a.train import fit as driver
from t2a.train.fit import absolute, fit
from t2a.train.ranks import Ranks
from t2a.train.reporter import NullReporter
from t2a.train.run import Run
from t2a.train.worker import train
from tests.train.small import audio_corpus, denoiser_run, stream, untrained_autoencoder

DATA = {"kind": "latents", "latent": [3], "crop_frames": 24, "window": 8}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with latents, an untrained autoencoder, and a denoiser that is trained to its fourth step."""
    folder = tmp_path_factory.mktemp("made")
    autoencoder = untrained_autoencoder(folder / "autoencoder")
    precompute_latents(audio_corpus(str(folder / "audio"), rows=24), str(folder / "latents"), autoencoder)
    run = absolute(recipe(folder))
    train(run, Ranks(), lambda: stream(run), NullReporter())
    return folder


def recipe(folder: Path, **changes: Any) -> Run:
    return denoiser_run(str(folder / "runs"), str(folder / "latents"), str(folder / "autoencoder"), **changes)


@pytest.mark.parametrize(
    "changes", [{}, {"log_every": 3, "eval": None, "max_failures": 0}, {"steps": 3}, {"engine": {"ema": 0.8}}]
)
def test_a_finished_run_is_not_trained_again(made, changes):
    result = fit(recipe(made, **changes), progress=False)
    assert (result.step, result.mlflow_run_id) == (4, None)
    assert Path(result.model_uri, "config.json").exists()
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 5}, r"step 4 by another recipe \(.*recipe.yaml\): seed was 0 and is 5. Give the run another name"),
        ({"optim": {"denoiser": {"lr": 0.5}}}, "optim.denoiser.lr was 0.01 and is 0.5"),
        ({"batch_size": 2}, "batch_size was 4 and is 2"),
        ({"engine": {"kind": "plain", "ema": 0.5}}, "engine.ema was 0.8 and is 0.5"),
        ({"data": DATA | {"crop_frames": 20}, "seed": 1}, "seed was 0 and is 1; data.crop_frames was 24 and is 20"),
    ],
)
def test_what_another_recipe_has_trained_is_not_taken_for_the_result(made, changes, told):
    if "data" in changes:
        changes = changes | {"data": changes["data"] | {"uri": str(made / "latents")}}
    with pytest.raises(ConfigError, match=told):
        fit(recipe(made, **changes), progress=False)


def test_more_steps_go_on_from_what_is_there(made, monkeypatch):
    started = []

    def begun(run: Run, quiet: bool) -> Any:
        started.append(run.steps)
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "cluster", begun)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe(made, steps=9, optim={"denoiser": {"lr": 0.5}}), progress=False)
    assert started == [9]
