"""Losses of the critic and of what tries to please it: hinge (EnCodec, equations 4 to 6) and squares."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


def critic_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """L_d = mean_k max(0, 1 - D_k(x)) + max(0, 1 + D_k(x^)), of the logits of each critic k."""
    losses = [functional.relu(1 - r).mean() + functional.relu(1 + f).mean() for r, f in _float(real, fake)]
    return torch.stack(losses).mean()


def generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """l_g = mean_k max(0, 1 - D_k(x^))."""
    return torch.stack([functional.relu(1 - f.float()).mean() for f in fake]).mean()


def critic_squares(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """L_d = mean_k (D_k(x) - 1)^2 + D_k(x^)^2 (Mao et al., LSGAN, 2017, as in HiFi-GAN)."""
    losses = [(r - 1).square().mean() + f.square().mean() for r, f in _float(real, fake)]
    return torch.stack(losses).mean()


def generator_squares(fake: Sequence[Tensor]) -> Tensor:
    """l_g = mean_k (D_k(x^) - 1)^2."""
    return torch.stack([(f.float() - 1).square().mean() for f in fake]).mean()


class Contest(NamedTuple):
    """What the critic descends, given its logits of real and of decoded audio, and what its opponent does."""

    critic: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
    generator: Callable[[Sequence[Tensor]], Tensor]


HINGE = Contest(critic_loss, generator_loss)
CONTESTS = {"hinge": HINGE, "lsgan": Contest(critic_squares, generator_squares)}


def feature_loss(
    real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]], weight: Tensor | None = None
) -> Tensor:
    """l_feat = mean_{k,l} |D_k^l(x) - D_k^l(x^)|_1 / |D_k^l(x)|_1, of the features [B, ...] of each critic and layer.

    The ratio is taken for each clip and then averaged, so that it does not depend on the clip's batch-mates nor on how
    many processes a batch is spread over. The real features are constants. weight: [B] of the clips' ratios, 0 for
    silent ones, whose features are next to nothing to be divided by.
    """
    ratios = []
    for real_layers, fake_layers in zip(real, fake, strict=True):
        for r, f in _float(real_layers, fake_layers):
            constant, within = r.detach(), tuple(range(1, r.ndim))
            scale = constant.abs().mean(within).clamp_min(1e-8) * constant[0].numel()
            # A sum's gradient is not laid out anew, as a mean's is: it keeps the memory layout of the features.
            ratio = (f - constant).abs().sum(within) / scale
            ratios.append((ratio if weight is None else ratio * weight).mean())
    return torch.stack(ratios).mean()


def weighed_critic_loss(real: Sequence[Tensor], fake: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """L_d of logits [B, ...] that weigh differently: mean over the clips of sum w (max(0, 1 - D) + max(0, 1 + D^))."""
    pairs = zip(_float(real, fake), weights, strict=True)
    parts = [(functional.relu(1 - r) + functional.relu(1 + f)) * w for (r, f), w in pairs]
    return torch.stack([part.sum() / len(part) for part in parts]).sum()


def weighed_generator_loss(fake: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Mean over the clips of -sum w D^, which goes on asking for more where the hinge is content (VQGAN)."""
    return -torch.stack([(f.float() * w).sum() / len(f) for f, w in zip(fake, weights, strict=True)]).sum()


def gradient_penalty(logits: Sequence[Tensor], weights: Sequence[Tensor], real: Tensor) -> Tensor:
    """R1: mean over the clips of the squared gradient of sum w D at what is recorded (Mescheder et al., 2018).

    Its own gradient can be followed back.
    """
    total = torch.stack([(x.float() * w).sum() for x, w in zip(logits, weights, strict=True)]).sum()
    (gradient,) = torch.autograd.grad(total, real, create_graph=True)
    return gradient.float().square().flatten(1).sum(1).mean()


def _float(real: Sequence[Tensor], fake: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(r.float(), f.float()) for r, f in zip(real, fake, strict=True)]
