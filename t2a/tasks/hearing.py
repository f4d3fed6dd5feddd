"""What a critic says of decoded audio: its own loss, and what whoever made the audio learns of it."""

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from t2a.losses.adversarial import HINGE, Contest, feature_loss
from t2a.losses.balancer import output_gradients
from t2a.models.discriminators import CriticConfig, Verdict
from t2a.tasks.task import Network, frozen, partitioned, raw

SILENCE = 1e-4  # of full scale, three steps of 16 bits


class Heard(NamedTuple):
    """A batch after the critic has heard it."""

    critic: Tensor
    """its loss, to be followed back into its parameters"""
    losses: dict[str, Tensor]
    """of the decoded audio, by the names asked for: "adv" and "feat"; detached"""
    gradients: dict[str, Tensor]
    """of these losses at the decoded audio [B, C, T]"""


def hear(critic: Network, wave: Tensor, decoded: Tensor, wanted: Collection[str], contest: Contest = HINGE) -> Heard:
    """Let a critic hear originals and decoded audio [B, C, T], of which the latter is a leaf that takes gradients."""
    if partitioned(critic):
        return _apart(critic, wave, decoded, wanted, contest)
    return _together(critic, wave, decoded, wanted, contest)


def check_heard(critic: CriticConfig | None, adv: float, feat: float) -> None:
    """Refuse weights of what nobody says, and a critic to which nobody listens; as validators do, by `ValueError`."""
    if critic is None and (adv or feat):
        raise ValueError("weights.adv and weights.feat need a critic: set them to 0 or give the critic's config")
    if critic is not None and not (adv or feat):
        raise ValueError("the critic is not heard: set critic to null, or weights.adv or weights.feat above 0")


def _together(net: Network, wave: Tensor, decoded: Tensor, wanted: Collection[str], contest: Contest) -> Heard:
    """Hear everything once for the critic's own loss and for what others learn of it.

    The gradients at the decoded audio touch none of the critic's parameters. It is called past its engine, which would
    take them for the backward pass of its turn, and for originals by themselves, through which they need not be
    followed back.
    """
    critic = raw(net)
    real, fake = critic(wave), critic(decoded)
    losses = _losses(real, fake, fake, wanted, contest, _sounds(wave))
    return Heard(contest.critic(real.logits, fake.logits), _detached(losses), output_gradients(losses, decoded))


def _apart(net: Network, wave: Tensor, decoded: Tensor, wanted: Collection[str], contest: Contest) -> Heard:
    """Do the same where a pass through the critic can be followed back only once, because parameters go after use.

    Decoded audio comes twice, so that one backward pass gives both gradients.
    """
    copies = {name: decoded.detach().clone().requires_grad_() for name in ("adv", "feat")}
    with frozen(net) as critic:
        with torch.no_grad():
            real = critic(wave)
        fakes = critic(torch.cat(list(copies.values()))).split(2)
        losses = _losses(real, *fakes, wanted, contest, _sounds(wave))
        pulls = torch.autograd.grad(sum(losses.values()), [copies[name] for name in losses])
    real, fake = net(torch.cat([wave, decoded.detach()])).split(2)
    loss = contest.critic(real.logits, fake.logits)
    return Heard(loss, _detached(losses), dict(zip(losses, pulls, strict=True)))


def _losses(
    real: Verdict, judged: Verdict, felt: Verdict, wanted: Collection[str], contest: Contest, sounds: Tensor
) -> dict[str, Tensor]:
    losses = {}
    if "adv" in wanted:
        losses["adv"] = contest.generator(judged.logits)
    if "feat" in wanted:
        losses["feat"] = feature_loss(real.features, felt.features, sounds)
    return losses


def _sounds(wave: Tensor) -> Tensor:
    """Tell which clips of [B, C, T] are more than digital silence, float32 [B]."""
    return (wave.flatten(1).abs().amax(1) > SILENCE).float()


def _detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: loss.detach() for name, loss in losses.items()}
