"""What a denoiser knows of a number: how noisy its input is, how long its clip."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2a.nn.positions import sinusoids


class NumberEmbedding(nn.Module):
    """Sinusoids of a number, through two linear layers (DDPM, Ho et al. 2020, appendix B)."""

    def __init__(self, sinusoids: int, width: int):
        super().__init__()
        self.sinusoids = sinusoids
        self.expand = nn.Linear(sinusoids, width)
        self.contract = nn.Linear(width, width)

    def forward(self, numbers: Tensor, dtype: torch.dtype) -> Tensor:
        """Map [B] -> [B, width] of a type; the numbers should differ by ones, and stay below 10 000."""
        encoded = sinusoids(numbers, self.sinusoids, shift=0)
        return self.contract(F.silu(self.expand(encoded.to(dtype))))
