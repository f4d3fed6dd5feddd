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

from t2a.errors import DataError

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


def encode(codes: Tensor, predictor: Predictor) -> bytes:
    """Code a chunk int64 [G, K, L] of G streams in as few bytes as the predictor foresees it."""
    state, encoder = predictor.start(codes.shape[0], codes.shape[2]), RangeEncoder()
    for block in codes.split(BLOCK, dim=2) if codes.numel() else ():
        rows = predictor.read(block, state).permute(1, 2, 0, 3).flatten(0, 2)
        encoder.encode(block.permute(2, 1, 0).flatten().int().cpu().numpy(), FAMILY, weights(rows))
    return encoder.get_compressed().astype("<u4").tobytes()


def decode(payloads: Sequence[bytes], shape: tuple[int, int, int], predictor: Predictor) -> list[Tensor | None]:
    """Return the codes of chunks that are all of one shape (G, K, L), side by side in one pass of the predictor.

    None stands for a payload that no codes of this shape have.
    """
    streams, codebooks, frames = shape
    decoders = [_decoder(payload) for payload in payloads]
    failed = [decoder is None for decoder in decoders]

    def choose(frequencies: Tensor) -> Tensor:
        rows, codes = weights(frequencies), np.zeros(len(frequencies), np.int64)
        for index, decoder in enumerate(decoders):
            part = slice(index * streams, (index + 1) * streams)
            if decoder is None or failed[index]:
                continue
            try:
                codes[part] = decoder.decode(FAMILY, rows[part])
            except AssertionError:  # this is how the coder says that no message begins like this
                failed[index] = True
        return torch.from_numpy(codes)

    state = predictor.start(len(payloads) * streams, frames)
    columns = [predictor.walk(codebooks, choose, state) for _ in range(frames)] if streams * codebooks else []
    empty = torch.zeros(len(payloads) * streams, codebooks, 0, dtype=torch.int64)
    chunks = torch.cat([empty, *(column.cpu() for column in columns)], dim=2).unflatten(0, (len(payloads), streams))
    return [None if failed[index] else chunk for index, chunk in enumerate(chunks)]


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
