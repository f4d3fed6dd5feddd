"""The symmetric contrastive loss of two embeddings of the same rows (Radford et al., CLIP, 2021, figure 3)."""

import torch
from torch import Tensor, distributed
from torch.nn import functional

from t2a.nn import ranks


def contrastive(audio: Tensor, text: Tensor, scale: Tensor, labels: Tensor, said: Tensor) -> Tensor:
    """Mean cross-entropy of finding a row's caption among all captions and its sound among all sounds.

    audio, text: [B, D] of norm 1; scale: one over the temperature. labels: int64 [B], the caption of each row; said:
    int64 [B, N], all captions that fit its sound, its own among them. All pairs that fit count as equally right, so
    that a caption is never pushed away from another clip that it tells of as well. Candidates are the rows of all
    processes, each process answers for its own; its gradient reaches every process's rows.
    """
    sounds, captions = gathered(audio), gathered(text)
    by_sound = functional.cross_entropy(scale * audio @ captions.T, shares(fits(gathered(labels), said)))
    by_caption = functional.cross_entropy(scale * text @ sounds.T, shares(fits(labels, gathered(said)).T))
    return (by_sound + by_caption) / 2


def fits(labels: Tensor, said: Tensor) -> Tensor:
    """Tell which of M captions [M] are among those that fit N sounds [N, ...], bool [N, M]."""
    return (said[:, None] == labels[None, :, None]).any(2)


def shares(right: Tensor) -> Tensor:
    """Divide one among the right candidates of each row, [N, M]."""
    return right / right.sum(1, keepdim=True)


def gathered(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes, in their order; gradients find their way back."""
    if ranks.world() == 1:
        return rows
    if not rows.requires_grad:
        parts = [torch.empty_like(rows) for _ in range(ranks.world())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)
    return _Gather.apply(rows)


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums what every process asks of each row."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        return gathered(rows.detach())

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        summed = ranks.total(gradient)
        count = len(summed) // ranks.world()
        return summed[ranks.rank() * count : (ranks.rank() + 1) * count]
