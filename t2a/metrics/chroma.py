"""Whether a generated clip follows the tune it was given."""

import torch
from torch import Tensor

from t2a.audio.chroma import ChromaSpec, chromagram, leading


@torch.no_grad()
def chroma_cosine(estimate: Tensor, target: Tensor, spec: ChromaSpec) -> Tensor:
    """Mean cosine similarity over frames of the leading pitch classes of waves [B, C, T], [B] (MusicGen, section 3.4).

    Of one-hot frames the cosine is whether they agree, so it is the share of the frames with the same leading class.
    Channels are averaged and the longer wave is cut. Frames where the target is silent are left out, frames where only
    the estimate is silent disagree; a target that is silent throughout gives `nan`.
    """
    length = min(estimate.shape[-1], target.shape[-1])
    ours, theirs = (chromagram(wave[..., :length].float().mean(-2), spec) for wave in (estimate, target))
    counted, heard = theirs.any(-2), ours.any(-2)
    agreeing = (leading(ours) * leading(theirs)).sum(-2) * (counted & heard)
    return agreeing.sum(-1) / torch.where(counted.any(-1), counted.sum(-1), torch.nan)
