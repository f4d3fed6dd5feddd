"""How much the clips of one prompt differ."""

import torch
from torch import Tensor

from t2a.audio.spectral import MelSpec, MelSpectrogram


@torch.no_grad()
def diversity(vectors: Tensor) -> float:
    """Mean cosine distance of all pairs of vectors [N, D], N >= 2: 0 where all point the same way, at most 2.

    A vector of zeros, which `mel_vectors` gives silence, is a direction of its own: silent takes do not differ.
    """
    count = len(vectors)
    if count < 2:
        raise ValueError(f"{count} clip has nothing to differ from: give 2 or more")
    nothing = (vectors == 0).all(-1, keepdim=True)
    units = torch.cat([torch.nn.functional.normalize(vectors.double(), dim=-1), nothing], dim=-1)
    similar = units @ units.mT
    return float(1 - (similar.sum() - similar.trace()) / (count * (count - 1)))


@torch.no_grad()
def mel_vectors(waves: Tensor, sample_rate: int, mels: int = 64) -> Tensor:
    """Describe waves [B, C, T] by each mel band's mean over time and its deviation, in dB above -100 dB, [B, 2 M].

    They tell timbre and level, nothing of what is heard when: a model's embeddings tell more (CLAP).
    """
    mel = MelSpectrogram(MelSpec(rate=sample_rate, n_mels=mels, normalised=True)).to(waves.device)
    levels = 20 * (mel(waves.float().mean(1)) + 5)
    return torch.cat([levels.mean(-1), levels.std(-1, unbiased=False)], dim=-1)
