"""Streams of random numbers by seed."""

import hashlib

import torch


def seeded(seed: int) -> torch.Generator:
    """Return a stream on the CPU for a seed below 2^64, of which torch's own would hear the lowest 32 bits alone."""
    if seed >= 1 << 32:
        seed = int.from_bytes(hashlib.sha256(seed.to_bytes(8, "big")).digest()[:4], "big")
    return torch.Generator().manual_seed(seed)
