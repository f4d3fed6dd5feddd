import pytest
import torch

from t2a.diffusion.editing import resample
from t2a.diffusion.noise import Noise
from t2a.diffusion.process import DiffusionConfig, FlowConfig
from t2a.diffusion.samplers import SAMPLERS, sample
from t2a.errors import ConfigError

PROCESSES = {
    "diffusion": DiffusionConfig().build(),
    "zero SNR": DiffusionConfig(zero_snr=True).build(),
    "flow": FlowConfig().build(),
}
PAIRS = [(name, kind) for name, s in SAMPLERS.items() for kind, p in PROCESSES.items() if p.kind in s.processes]
LATENT = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0))


def opinionated(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A network that mixes frames and channels."""
    return torch.sin(x.roll(1, 1) + x.roll(3, 2)) + 0.1


def run(name: str, kind: str, **options) -> torch.Tensor:
    noise = Noise([1, 2], (3,), [12, 12])
    *_, last = resample(name, PROCESSES[kind], opinionated, noise, LATENT, **{"steps": 8} | options)
    return last


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_what_is_to_be_kept_ends_as_it_was_and_the_rest_does_not(name, kind):
    keep = torch.zeros(1, 1, 12, dtype=torch.bool)
    keep[..., :5] = True
    made = run(name, kind, keep=keep)
    torch.testing.assert_close(made[..., :5], LATENT[..., :5], atol=2e-5, rtol=1e-5)
    assert (made[..., 5:] - LATENT[..., 5:]).abs().mean() > 0.1
    torch.testing.assert_close(run(name, kind, keep=keep), made, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_without_anything_kept_full_strength_is_sampling_from_noise(name, kind):
    *_, expected = sample(name, PROCESSES[kind], opinionated, Noise([1, 2], (3,), [12, 12]), steps=8)
    torch.testing.assert_close(run(name, kind), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", PROCESSES)
def test_a_lower_strength_takes_fewer_steps_and_stays_nearer(kind):
    far = [float((run("dpmpp_2m", kind, strength=s) - LATENT).norm()) for s in (0.125, 0.5, 1.0)]
    assert far == sorted(far)
    noise = Noise([1, 2], (3,), [12, 12])
    steps = list(resample("dpmpp_2m", PROCESSES[kind], opinionated, noise, LATENT, steps=8, strength=0.5))
    assert len(steps) == 4


def test_the_latent_has_its_effect():
    other = resample(
        "ddim", PROCESSES["diffusion"], opinionated, Noise([1, 2], (3,), [12, 12]), -LATENT, steps=8, strength=0.5
    )
    *_, other = other
    assert (other - run("ddim", "diffusion", strength=0.5)).abs().mean() > 0.1


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.01, float("nan")])
def test_a_strength_that_means_nothing_is_refused_at_once(strength):
    with pytest.raises(ConfigError, match="strength is"):
        resample("ddim", PROCESSES["diffusion"], opinionated, Noise([1], (3,), [12]), LATENT[:1], steps=8,
                 strength=strength)  # fmt: skip
