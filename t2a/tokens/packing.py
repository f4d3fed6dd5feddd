"""Codes in as many bits as they have values, without any model."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Packing:
    """Codes below `bins` in `ceil(log2(bins))` bits each, least significant first.

    They go frame by frame, within a frame stream by stream, within a stream codebook by codebook.
    """

    def __init__(self, bins: int) -> None:
        self.width = (bins - 1).bit_length()

    def encode(self, codes: Tensor) -> bytes:
        """Pack a chunk int64 [G, K, L]."""
        bits = (codes.permute(2, 0, 1).reshape(-1, 1).cpu().numpy() >> np.arange(self.width)) & 1
        return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()

    def decode(self, payloads: Sequence[bytes], shape: tuple[int, int, int]) -> list[Tensor | None]:
        """Return the chunks [G, K, L], all of one shape; None for a payload that has another size."""
        streams, codebooks, frames = shape
        count = streams * codebooks * frames
        chunks: list[Tensor | None] = []
        for payload in payloads:
            if len(payload) != (count * self.width + 7) // 8:
                chunks.append(None)
                continue
            bits = np.unpackbits(np.frombuffer(payload, np.uint8), count=count * self.width, bitorder="little")
            codes = (bits.reshape(count, self.width).astype(np.int64) << np.arange(self.width)).sum(1)
            chunks.append(torch.from_numpy(codes.reshape(frames, streams, codebooks)).permute(1, 2, 0))
        return chunks
