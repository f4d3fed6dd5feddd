"""Range coding of codes with the frequencies of a model that foresees them (Martin, Range encoding, 1979).

A chunk is coded by itself, from an empty context: what is lost with a damaged chunk is that chunk. Codes go frame by
frame, within a frame codebook by codebook, within a codebook stream by stream.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import constriction
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TOTAL = 2**24  # of the frequencies of a code, the coder's own resolution
BLOCK = 64  # frames whose frequencies are in memory at a time
FAMILY = constriction.stream.model.Categorical(perfect=False)
RangeEncoder, RangeDecoder = constriction.stream.queue.RangeEncoder, constriction.stream.queue.RangeDecoder


class Predictor(Protocol):
    """A model of codes whose frequencies are integers: the same whenever and wherever they are computed."""

    def start(self, rows: int, frames: int) -> Any:
        """Begin `rows` sequences of at most `frames` frames; returns their state."""

    def read(self, codes: Tensor, state: Any) -> Tensor:
        """Frequencies int64 [B, n, K, V], at least 1 and `TOTAL` in all, of the next n frames int64 [B, K, n]."""

    def walk(self, codebooks: int, choose: Callable[[Tensor], Tensor], state: Any) -> Tensor:
        """Codes [B, K, 1] of the next frame, of which `choose` tells each [B] from its frequencies [B, V]."""


class RangeCoding:
    """Codes in as few bytes as a predictor foresees them."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def encode(self, codes: Tensor) -> bytes:
        """Code a chunk int64 [G, K, L] of G streams."""
        encoder = RangeEncoder()
        if codes.numel():
            state = self.predictor.start(codes.shape[0], codes.shape[2])
            for block in codes.split(BLOCK, dim=2):
                rows = self.predictor.read(block, state).permute(1, 2, 0, 3).flatten(0, 2)
                encoder.encode(block.permute(2, 1, 0).flatten().int().cpu().numpy(), FAMILY, weights(rows))
        return encoder.get_compressed().astype("<u4").tobytes()

    def decode(self, payloads: Sequence[bytes], shape: tuple[int, int, int]) -> list[Tensor | None]:
        """Return chunks [G, K, L], all of one shape, side by side in one pass; None where the bytes are no message."""
        streams, codebooks, frames = shape
        decoders = [_decoder(payload) for payload in payloads]

        def choose(frequencies: Tensor) -> Tensor:
            rows, codes = weights(frequencies), np.zeros(len(frequencies), np.int64)
            for index, decoder in enumerate(decoders):
                if decoder is None:
                    continue
                part = slice(index * streams, (index + 1) * streams)
                try:
                    codes[part] = decoder.decode(FAMILY, rows[part])
                except AssertionError:  # this is how the coder says that no message goes on like this
                    decoders[index] = None
            return torch.from_numpy(codes)

        columns = [torch.zeros(len(payloads) * streams, codebooks, 0, dtype=torch.int64)]
        if columns[0].shape[0] and codebooks:
            state = self.predictor.start(len(payloads) * streams, frames)
            columns += [self.predictor.walk(codebooks, choose, state).cpu() for _ in range(frames)]
        chunks = torch.cat(columns, dim=2).unflatten(0, (len(payloads), streams))
        return [None if decoder is None else chunk for decoder, chunk in zip(decoders, chunks, strict=True)]


def weights(frequencies: Tensor) -> NDArray[np.float64]:
    """What makes the coder use exactly these frequencies int64 [N, V].

    It gives every code 1 and shares out `TOTAL` - V by weights of any sum; these have this very sum, so that its
    factor is 1 and nothing is rounded.
    """
    return np.ascontiguousarray((frequencies - 1).double().cpu().numpy())


def cost(frequencies: Tensor, codes: Tensor) -> Tensor:
    """Bits [B, n, K] that codes int64 [B, K, n] cost by frequencies [B, n, K, V]."""
    chosen = frequencies.gather(-1, codes.transpose(1, 2)[..., None])[..., 0]
    return -torch.log2(chosen.double() / TOTAL)


def _decoder(payload: bytes) -> Any:
    return RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32)) if len(payload) % 4 == 0 else None
