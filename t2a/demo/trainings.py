"""What the demo trains: by which recipe, on which corpus, with which models beside it, and for how long."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from t2a import storage
from t2a.config import load
from t2a.train.run import Run

RECIPES = Path(__file__).parents[2] / "jobs" / "recipes"


class Training(NamedTuple):
    """A model of the demo, and which earlier stages it needs."""

    title: str
    recipe: str
    corpus: str
    """the stage that makes what it is trained on"""
    parts: tuple[str, ...] = ()
    """the trainings whose models its task names"""

    @property
    def needs(self) -> tuple[str, ...]:
        """All stages that come before it."""
        return (self.corpus, *self.parts)


TRAININGS = {
    "codec": Training("codec", "codec-small", "corpus"),
    "lm": Training("language model", "lm-small", "codes", ("codec",)),
    "autoencoder": Training("autoencoder", "autoencoder-small", "corpus"),
    "vocoder": Training("vocoder", "vocos-small", "corpus"),
    "denoiser": Training("denoiser", "denoiser-small", "latents", ("autoencoder", "vocoder")),
}
# Three to five minutes each on two cores; the recipes, which go on to quality, take three times as long.
DEMO = {
    "autoencoder": ["steps=400", "task.critic_start=270", "eval.every=100"],
    "vocoder": ["steps=550", "task.critic_start=420", "eval.every=100"],
    "denoiser": ["steps=450", "eval.every=100"],
}
# `--quick` shortens what takes minutes; everything else is the same.
FEW = ["steps=30", "batch_size=8", "eval.every=15", "checkpoint.every=15"]
QUICK = {
    "codec": FEW,
    "lm": FEW,
    "autoencoder": [*FEW, "task.critic_start=20"],
    "vocoder": [*FEW, "task.critic_start=20"],
    "denoiser": FEW,
}


def recipe(name: str, bucket: str, models: Mapping[str, str], quick: bool) -> Run:
    """Read a training's recipe; corpora and runs lie in `bucket`, `models` holds those of its parts by their names."""
    training = TRAININGS[name]
    overrides = [f"out={storage.join(bucket, 'runs')}", f"data.uri={storage.join(bucket, training.corpus)}"]
    overrides += [f"task.{part}={models[part]}" for part in training.parts]
    overrides += DEMO.get(name, []) + (QUICK[name] if quick else [])
    return load(Run, RECIPES / f"{training.recipe}.yaml", overrides)
