"""What a critic says of decoded spectrograms: its own loss, and what the autoencoder learns of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from t2a.errors import ConfigError
from t2a.losses.adversarial import gradient_penalty, weighed_critic_loss, weighed_generator_loss
from t2a.models.spectrogram_critic import SpectrogramCritic
from t2a.tasks.task import Network, frozen, partitioned, raw


class Judged(NamedTuple):
    """A batch after the critic has seen it."""

    critic: Tensor
    """its loss, to be followed back into its parameters"""
    adversarial: Tensor
    """the autoencoder's loss, detached"""
    gradient: Tensor
    """of that loss at the decoded spectrograms [B, M, L]"""
    logs: dict[str, Tensor]


def judge(net: Network, mel: Tensor, decoded: Tensor, length: Tensor, r1: float = 0.0) -> Judged:
    """Let a critic see recorded and decoded spectrograms [B, M, L], the latter a leaf that takes gradients.

    Both in the same windows of the first `length` frames [B]. r1: weight of the squared gradient at what is recorded.
    Raises `ConfigError` for that with partitioned parameters.
    """
    critic = raw(net)
    assert isinstance(critic, SpectrogramCritic)
    starts = critic.draw(length)
    if partitioned(net):
        if r1:
            raise ConfigError("weights.r1 takes a gradient of a gradient, which engine.zero 3 cannot: take zero 2.")
        judged = _apart(net, mel, decoded, length, starts)
    else:
        judged = _together(critic, mel, decoded, length, starts, r1)
    left_out = (starts < 0).float().sum() / max(1, starts.numel())
    return judged._replace(logs=judged.logs | {"critic/left_out": left_out})


def _together(
    critic: SpectrogramCritic, mel: Tensor, decoded: Tensor, length: Tensor, starts: Tensor, r1: float
) -> Judged:
    """See everything once for both; past the critic's engine, which would take it for the backward pass of a turn."""
    recorded = mel.detach().clone().requires_grad_(r1 > 0)
    real, fake = critic(recorded, length, starts), critic(decoded, length, starts)
    adversarial = weighed_generator_loss(fake.logits, fake.weights)
    (gradient,) = torch.autograd.grad(adversarial, decoded, retain_graph=True)
    loss = weighed_critic_loss(real.logits, fake.logits, real.weights)
    logs = {"loss/critic": loss.detach()}
    if r1:
        penalty = gradient_penalty(real.logits, real.weights, recorded)
        loss, logs = loss + r1 / 2 * penalty, logs | {"loss/r1": penalty.detach()}
    return Judged(loss, adversarial.detach(), gradient, logs)


def _apart(net: Network, mel: Tensor, decoded: Tensor, length: Tensor, starts: Tensor) -> Judged:
    """Do the same where a pass can be followed back only once, because parameters go after use."""
    with frozen(net) as critic:
        fake = critic(decoded, length, starts)
        adversarial = weighed_generator_loss(fake.logits, fake.weights)
        (gradient,) = torch.autograd.grad(adversarial, decoded)
    opinion = net(torch.cat([mel, decoded.detach()]), length.repeat(2), starts.repeat(2, 1))
    real, fake = zip(*(logits.chunk(2) for logits in opinion.logits), strict=True)
    loss = weighed_critic_loss(real, fake, [weights.chunk(2)[0] for weights in opinion.weights])
    return Judged(loss, adversarial.detach(), gradient, {"loss/critic": loss.detach()})
