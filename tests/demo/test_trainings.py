"""What the demo asks of the recipes."""

import pytest

from t2a.config import load
from t2a.demo.trainings import RECIPES, TRAININGS, recipe
from t2a.train.run import Run

MODELS = {name: f"the {name}" for name in TRAININGS}


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("quick", [True, False])
def test_a_training_lies_in_the_demos_bucket_and_takes_no_longer_than_its_recipe(name: str, quick: bool) -> None:
    run = recipe(name, "bucket", MODELS, quick)
    whole = load(Run, RECIPES / f"{TRAININGS[name].recipe}.yaml")
    assert (run.folder, run.data.uri) == (f"bucket/runs/{whole.name}", f"bucket/{TRAININGS[name].corpus}")
    assert run.steps == 30 if quick else run.steps <= whole.steps
    for part in TRAININGS[name].parts:
        assert getattr(run.task, part) == f"the {part}"


@pytest.mark.parametrize("name", ["autoencoder", "vocoder"])
@pytest.mark.parametrize("quick", [True, False])
def test_the_critic_is_heard_for_the_last_third_or_quarter_as_in_the_recipe(name: str, quick: bool) -> None:
    run = recipe(name, "bucket", MODELS, quick)
    assert 0.6 < run.task.critic_start / run.steps < 0.8


def test_the_needs_of_a_training_are_its_corpus_and_its_parts() -> None:
    assert TRAININGS["denoiser"].needs == ("latents", "autoencoder", "vocoder")
