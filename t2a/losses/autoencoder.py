"""What a spectrogram autoencoder descends (Rombach et al., Latent Diffusion, 2022), on the real frames alone."""

import torch
from torch import Tensor

from t2a.nn import ranks
from t2a.nn.frames import mask_of, masked

MOST = 1e4  # that the critic's gradient is multiplied by


def distance(decoded: Tensor, mel: Tensor, length: Tensor) -> Tensor:
    """Mean absolute difference of spectrograms [B, M, L] over the first `length` [B] frames, for each clip [B]."""
    mask = mask_of(length, mel.shape[-1])
    return masked((decoded.float() - mel.float()).abs(), mask).flatten(1).sum(1) / (mel.shape[1] * length.clamp_min(1))


def divergence(mean: Tensor, logvar: Tensor, length: Tensor) -> Tensor:
    """KL divergence of posteriors [B, C, (F',) L'] from the standard normal, in nats of each clip [B].

    A sum over the first `length` [B] latent frames, as in latent diffusion.
    """
    nats = (mean.float().square() + logvar.float().exp() - 1 - logvar.float()) / 2
    return masked(nats, mask_of(length, mean.shape[-1])).flatten(1).sum(1)


def adaptive_weight(last: Tensor, kernel: tuple[int, ...], reconstruction: Tensor, adversarial: Tensor) -> Tensor:
    """Ratio of the two losses' gradients at the weight of the last layer (Esser et al., VQGAN, 2021, equation 7).

    last: what that convolution (of stride 1, with the spatial `kernel`) saw, [B, D, *]. reconstruction, adversarial:
    gradients [B, D', *] of the losses at its output. The weight itself is not asked, so that it may be partitioned or
    belong to an engine that counts backward passes. The gradients are means over the processes, as in training.
    """
    found = [ranks.mean(_weight_gradient(last, kernel, gradient)).norm() for gradient in (reconstruction, adversarial)]
    return (found[0] / found[1].clamp_min(1e-12)).clamp(0, MOST)


def _weight_gradient(last: Tensor, kernel: tuple[int, ...], gradient: Tensor) -> Tensor:
    find = {1: torch.nn.grad.conv1d_weight, 2: torch.nn.grad.conv2d_weight}[len(kernel)]
    shape = (gradient.shape[1], last.shape[1], *kernel)
    return find(last.detach().float(), shape, gradient.detach().float(), padding=tuple(size // 2 for size in kernel))
