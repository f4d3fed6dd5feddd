"""Give every loss its share of the gradient, whatever its scale (Défossez et al., EnCodec, section 3.4)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from t2a.nn import ranks
from t2a.nn.uncast import Uncast


def output_gradients(losses: Mapping[str, Tensor], output: Tensor) -> dict[str, Tensor]:
    """Return the gradient of each loss at `output`; the graphs stay usable, no parameter gets a gradient."""
    return {name: torch.autograd.grad(loss, output, retain_graph=True)[0] for name, loss in losses.items()}


def weighted(gradients: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the gradient of the weighted sum of the losses."""
    return torch.stack([weights[name] * gradient for name, gradient in gradients.items()]).sum(0)


def surrogate(output: Tensor, gradient: Tensor) -> Tensor:
    """Return a scalar whose gradient at `output` is `gradient`: what an engine can take the backward pass of."""
    return (output * gradient.detach()).sum()


class Balancer(Uncast):
    """Rescale gradients at the output [B, C, T] so that loss i has the share w_i / sum_j w_j of their norm `total`.

    Norms are averaged over clips, processes and steps (moving average, corrected for its start; kept in buffers, so
    that it is saved with the weights). They are those of one clip's own loss, so that the batch size changes nothing,
    and the result is the gradient of a mean over the clips.
    """

    norm: Tensor
    seen: Tensor

    def __init__(self, weights: Mapping[str, float], total: float = 1.0, decay: float = 0.999) -> None:
        super().__init__()
        self.weights, self.sum, self.decay = dict(weights), total, decay
        self.register_buffer("norm", torch.zeros(len(weights), dtype=torch.float32))
        self.register_buffer("seen", torch.zeros(len(weights), dtype=torch.float32))

    def forward(self, gradients: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the balanced gradient at the output, and this step's norm of each loss's gradient.

        Losses that are absent (a critic that has not started) leave their share to the others.
        """
        batch = len(next(iter(gradients.values())))
        norms = torch.stack([g.float().flatten(1).norm(dim=1).mean() * batch for g in gradients.values()])
        norms = ranks.mean(norms)
        places = torch.tensor([list(self.weights).index(name) for name in gradients], device=norms.device)
        self.norm[places] = self.decay * self.norm[places] + (1 - self.decay) * norms
        self.seen[places] = self.decay * self.seen[places] + (1 - self.decay)
        average = self.norm[places] / self.seen[places]
        share = torch.tensor([self.weights[name] for name in gradients], device=norms.device, dtype=torch.float32)
        scale = self.sum * share / share.sum() / average.clamp_min(1e-12)
        balanced = torch.stack([s * g.float() for s, g in zip(scale, gradients.values(), strict=True)]).sum(0)
        return balanced, dict(zip(gradients, norms, strict=True))
