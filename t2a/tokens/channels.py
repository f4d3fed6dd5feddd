"""Codes of several channels that a mono codec codes one by one, interleaved for one language model (MusicGen's stereo).

Codebook k of channel c stands at k * C + c: first codebooks of left and right, then the second ones, ...
"""

from torch import Tensor


def interleave(codes: Tensor, channels: int) -> Tensor:
    """Join the codes [B * C, K, L] of B clips, channel by channel, to [B, K * C, L]."""
    return codes.unflatten(0, (-1, channels)).transpose(1, 2).flatten(1, 2)


def separate(codes: Tensor, channels: int) -> Tensor:
    """Take codes [B, K * C, L] apart to [B * C, K, L], each row what a mono codec decodes."""
    return codes.unflatten(1, (-1, channels)).transpose(1, 2).flatten(0, 1)
