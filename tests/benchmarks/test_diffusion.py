"""Ten seconds of text to audio by the models of the small recipes, on one thread: `pytest tests/benchmarks -k ten`."""

import statistics
from pathlib import Path

import pytest
import torch

from t2a.conditions.encoders import Encoders
from t2a.config import load
from t2a.generate.diffusion import DiffusionGenerator
from t2a.generate.precision import quicken
from t2a.models.autoencoder import Autoencoder
from t2a.models.denoiser import Denoiser
from t2a.nn.packed import Precision
from t2a.train.run import Run
from tests.benchmarks.turns import in_turns

RECIPES = Path(__file__).parents[2] / "jobs" / "recipes"
SECONDS, STEPS, CAPTION = 10.0, 25, "A dog barks twice in the rain."
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


pytestmark = pytest.mark.usefixtures("one_thread")


def small(precision: Precision) -> DiffusionGenerator:
    """The models of the recipes before any training, which costs as much; the longest clip is raised to ten seconds."""
    torch.manual_seed(0)
    tasks = {name: load(Run, RECIPES / f"{name}-small.yaml", []).task for name in ("autoencoder", "vocos", "denoiser")}
    autoencoder = Autoencoder(tasks["autoencoder"].model)
    config = tasks["denoiser"].model.model_copy(update={"max_frames": autoencoder.latent_length(626)})
    model = Denoiser(config)
    widths = {name: condition.width for name, condition in config.conditions.items()}
    vocoder = tasks["vocos"].model.build().fold()
    generator = DiffusionGenerator(model, autoencoder, vocoder, Encoders(tasks["denoiser"].encoders, widths))
    quicken(generator.model, generator.device, precision)
    return generator


@pytest.mark.timeout(600)
def test_ten_seconds_of_sound_from_a_caption(benchmark):
    """CPU-seconds of the whole way, guidance included, and of its parts."""
    works = {}
    for precision in PRECISIONS:
        generator = small(precision)
        options = {"seeds": [0], "guidance": 3.0, "steps": STEPS}
        works[precision] = lambda made=generator, told=options: made.generate([CAPTION], SECONDS, **told)
    frames = generator.frames(round(SECONDS * generator.sample_rate))
    latents = torch.randn(1, *generator.model.config.latent, frames)
    works["of it decoding and vocoding, in float32"] = lambda: generator.waves(latents)
    spent = benchmark.pedantic(in_turns, (works,), rounds=1)
    took = {name: statistics.median(each) for name, each in spent.items()}
    benchmark.extra_info["CPU-seconds"] = took
    print("\n" + "\n".join(f"{name}: {each:.2f} CPU-s" for name, each in took.items()))
    assert works["float32"]()[0].shape == (1, 160_000)
