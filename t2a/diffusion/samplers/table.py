"""All samplers by name, and the one call that checks what a user asked for."""

import difflib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor

from t2a.diffusion.process import Network, Process
from t2a.diffusion.samplers.ancestral import ddim, ddpm
from t2a.diffusion.samplers.dpm import dpmpp_2m, dpmpp_2m_sde
from t2a.diffusion.samplers.draws import Draw
from t2a.diffusion.samplers.flow import euler, heun
from t2a.diffusion.samplers.plms import plms
from t2a.diffusion.samplers.unipc import unipc
from t2a.diffusion.schedule import Spacing
from t2a.errors import ConfigError


class Sampler(NamedTuple):
    """A sampler, the processes that it solves, and the options that it has besides."""

    run: Callable[..., Iterator[Tensor]]
    processes: tuple[str, ...]
    options: tuple[str, ...] = ()


SAMPLERS = {
    "ddpm": Sampler(ddpm, ("diffusion",)),
    "ddim": Sampler(ddim, ("diffusion",), ("eta",)),
    "plms": Sampler(plms, ("diffusion",)),
    "dpmpp_2m": Sampler(dpmpp_2m, ("diffusion", "flow")),
    "dpmpp_2m_sde": Sampler(dpmpp_2m_sde, ("diffusion", "flow")),
    "unipc": Sampler(unipc, ("diffusion", "flow"), ("order",)),
    "euler": Sampler(euler, ("flow",)),
    "heun": Sampler(heun, ("flow",)),
}


def check(name: str, process: Process, steps: int, **options: Any) -> Sampler:
    """Find a sampler. Raises `ConfigError` where it is unknown or cannot do what is asked."""
    if name not in SAMPLERS:
        close = difflib.get_close_matches(name, SAMPLERS, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(SAMPLERS)}."
        raise ConfigError(f"There is no sampler {name!r}: {meant}")
    sampler = SAMPLERS[name]
    if process.kind not in sampler.processes:
        able = ", ".join(other for other, found in SAMPLERS.items() if process.kind in found.processes)
        raise ConfigError(f"The sampler {name} does not solve the model's process, {process.kind}: take one of {able}.")
    most = process.schedule.most_steps
    if not 1 <= steps <= most:
        raise ConfigError(f"A model of this process is sampled in 1 to {most} steps, not {steps}.")
    if unknown := options.keys() - set(sampler.options):
        has = f"it has {', '.join(sampler.options)}" if sampler.options else "it has none, leave it out"
        raise ConfigError(f"The sampler {name} has no option {min(unknown)!r}: {has}.")
    return sampler


def sample(
    name: str,
    process: Process,
    network: Network,
    noise: Draw,
    *,
    steps: int,
    spacing: Spacing = "trailing",
    **options: Any,
) -> Iterator[Tensor]:
    """Check what is asked, then yield x after each of `steps` steps, the last one clean.

    noise: see `t2a.diffusion.noise`; the first draw is where sampling starts. Raises `ConfigError` at once.
    """
    sampler = check(name, process, steps, **options)
    levels = process.schedule.levels(steps, spacing)
    return sampler.run(process.denoised(network), noise(), levels, noise, **options)
