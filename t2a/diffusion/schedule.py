"""Noise schedules: how much of the clean latent and how much noise x_t holds at time t, and which times are visited.

Everywhere x_t = alpha(t) x_0 + sigma(t) noise, and t grows with the noise.
"""

import math
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, Protocol

import torch
from pydantic import Field
from torch import Tensor

from t2a.config import Config

Spacing = Literal["leading", "trailing", "linspace"]
FAINTEST = 2.0**-20  # the least alpha whose logarithm is taken: in pure noise it would be infinite


class Level(NamedTuple):
    """One level of noise that a sampler visits."""

    t: float
    """as the network is told; not asked at the last level, which is clean"""
    alpha: float
    """share of the clean latent"""
    sigma: float
    """standard deviation of the noise"""

    @property
    def log_snr(self) -> float:
        """Half the log of the signal-to-noise ratio, lambda in Lu et al. (2022); infinite where there is no noise."""
        return math.log(max(self.alpha, FAINTEST)) - math.log(self.sigma) if self.sigma else math.inf


CLEAN = Level(0.0, 1.0, 0.0)


class Schedule(Protocol):
    """How noise grows with time."""

    horizon: float
    """the time of the most noise; a network that embeds t scales by it"""
    most_steps: int
    """in which it can be sampled"""

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma, float32 [B], at times [B]."""
        ...

    def draw(self, rows: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Draw training times, float32 [B]."""
        ...

    def quantile(self, shares: Tensor) -> Tensor:
        """Return the training times below which `shares` [B] in (0, 1) of all draws lie, float32 [B]."""
        ...

    def levels(self, steps: int, spacing: Spacing) -> list[Level]:
        """Return `steps` + 1 levels from noise to the clean latent."""
        ...


class LinearConfig(Config):
    """Variances that grow linearly (Ho et al., 2020)."""

    kind: Literal["linear"] = "linear"
    start: float = Field(1e-4, gt=0, lt=1)
    end: float = Field(0.02, gt=0, lt=1)

    def alphas_cumprod(self, steps: int) -> Tensor:
        """alpha^2 after each of the steps, float64 [N]."""
        return (1 - torch.linspace(self.start, self.end, steps, dtype=torch.float64)).cumprod(0)


class ScaledLinearConfig(Config):
    """Variances whose square roots grow linearly (Rombach et al., 2022); the defaults are Make-An-Audio's."""

    kind: Literal["scaled_linear"] = "scaled_linear"
    start: float = Field(0.00085, gt=0, lt=1)
    end: float = Field(0.012, gt=0, lt=1)

    def alphas_cumprod(self, steps: int) -> Tensor:
        """alpha^2 after each of the steps, float64 [N]."""
        roots = torch.linspace(self.start**0.5, self.end**0.5, steps, dtype=torch.float64)
        return (1 - roots**2).cumprod(0)


class CosineConfig(Config):
    """alpha^2 falls as a squared cosine (Nichol and Dhariwal, 2021, eq. 17), each variance at most `most`."""

    kind: Literal["cosine"] = "cosine"
    offset: float = Field(0.008, ge=0)
    most: float = Field(0.999, gt=0, lt=1)

    def alphas_cumprod(self, steps: int) -> Tensor:
        """alpha^2 after each of the steps, float64 [N]."""
        t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        bar = torch.cos((t + self.offset) / (1 + self.offset) * math.pi / 2) ** 2
        return (bar[1:] / bar[:-1]).clamp(min=1 - self.most).cumprod(0)


NoiseConfig = Annotated[LinearConfig | ScaledLinearConfig | CosineConfig, Field(discriminator="kind")]


def zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """Shift and scale alpha so that nothing of the latent is left at the last step (Lin et al., 2023, algorithm 1)."""
    root = alphas_cumprod.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


class Discrete:
    """Variance-preserving noise in N steps, t = 0 .. N - 1: alpha^2 + sigma^2 = 1; times are drawn uniformly."""

    def __init__(self, alphas_cumprod: Tensor):
        self.alphas = alphas_cumprod.sqrt()
        self.sigmas = (1 - alphas_cumprod).sqrt()
        self.most_steps = len(alphas_cumprod)
        self.horizon = float(self.most_steps)
        self.tables = {torch.device("cpu"): (self.alphas.float(), self.sigmas.float())}

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        if t.device not in self.tables:  # once a device: no step of training waits for it
            alphas, sigmas = self.tables[torch.device("cpu")]
            self.tables[t.device] = alphas.to(t.device), sigmas.to(t.device)
        alphas, sigmas = self.tables[t.device]
        where = t.long()
        return alphas[where], sigmas[where]

    def draw(self, rows: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        return torch.randint(len(self.alphas), (rows,), generator=generator, device=device).float()

    def quantile(self, shares: Tensor) -> Tensor:
        return (shares.double() * len(self.alphas)).floor().float()

    def levels(self, steps: int, spacing: Spacing) -> list[Level]:
        times = SPACINGS[spacing](steps, len(self.alphas))
        return [Level(float(t), self.alphas[t].item(), self.sigmas[t].item()) for t in times] + [CLEAN]


class Straight:
    """Rectified flow: alpha = 1 - t, sigma = t for t in [0, 1] (Liu et al., 2023); `normal` draws logits of times.

    normal: mean and standard deviation of the logits (Esser et al., 2024, eq. 19); None draws uniformly.
    """

    horizon, most_steps = 1.0, 1000

    def __init__(self, normal: tuple[float, float] | None):
        self.normal = normal

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t.float(), t.float()

    def draw(self, rows: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        if self.normal is None:
            return torch.rand(rows, generator=generator, device=device)
        mean, std = self.normal
        return (mean + std * torch.randn(rows, generator=generator, device=device)).sigmoid()

    def quantile(self, shares: Tensor) -> Tensor:
        if self.normal is None:
            return shares.float()
        mean, std = self.normal
        return (mean + std * torch.special.ndtri(shares.double())).sigmoid().float()

    def levels(self, steps: int, spacing: Spacing) -> list[Level]:
        times = [1 - step / steps for step in range(steps)]  # there are no places between which spacings could differ
        return [Level(t, 1 - t, t) for t in times] + [CLEAN]


def _leading(steps: int, total: int) -> list[int]:
    return [step * (total // steps) for step in reversed(range(steps))]


def _trailing(steps: int, total: int) -> list[int]:
    return [round(total - step * total / steps) - 1 for step in range(steps)]


def _linspace(steps: int, total: int) -> list[int]:
    return [round(step * (total - 1) / max(1, steps - 1)) for step in reversed(range(steps))]


SPACINGS: dict[Spacing, Callable[[int, int], list[int]]] = {
    "leading": _leading,
    "trailing": _trailing,
    "linspace": _linspace,
}
"""which of the trained times are visited (Lin et al., 2023, table 2); `leading` never starts from the most noise"""
