"""Range coding: exactly the given frequencies, no loss for any shape, and as short as they promise."""

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from t2a.tokens.entropy import FAMILY, TOTAL, RangeCoding, RangeDecoder, RangeEncoder, cost, weights


def normalised(raw: np.ndarray) -> np.ndarray:
    """Frequencies [..., V] of at least 1 that add up to TOTAL, in the proportions of `raw`."""
    bounds = np.floor(raw.cumsum(-1) / raw.sum(-1, keepdims=True) * (TOTAL - raw.shape[-1])).astype(np.int64)
    bounds[..., -1] = TOTAL - raw.shape[-1]
    return np.diff(bounds, prepend=0) + 1


class Hashing:
    """A predictor without weights: the frequencies of a code follow from all codes before it."""

    def __init__(self, bins: int):
        self.bins = bins

    def start(self, rows: int, frames: int) -> list:
        return [0] * rows

    def read(self, codes: Tensor, state: list) -> Tensor:
        rows = []
        for row, frames in enumerate(codes.transpose(1, 2).tolist()):
            for frame in frames:
                for code in frame:
                    rows.append(self.frequencies(state[row]))
                    state[row] = hash((state[row], code))
        return torch.stack(rows).view(len(codes), codes.shape[2], codes.shape[1], self.bins)

    def walk(self, codebooks: int, choose, state: list) -> Tensor:
        columns = []
        for _ in range(codebooks):
            columns.append(choose(torch.stack([self.frequencies(history) for history in state])))
            state[:] = [hash((h, code)) for h, code in zip(state, columns[-1].tolist(), strict=True)]
        return torch.stack(columns, dim=1)[..., None]

    def frequencies(self, history: int) -> Tensor:
        return torch.from_numpy(normalised(np.random.default_rng(history % 2**32).exponential(size=self.bins) ** 4))


@pytest.mark.parametrize("bins", [2, 3, 30, 1000, 2048, 2**14])
def test_the_coder_uses_exactly_our_frequencies(bins):
    """A message of one code is any number between its bounds, and no other: both ends of both sides are tried."""
    draw = np.random.default_rng(bins)
    frequencies = normalised(draw.exponential(size=bins) ** 5)
    assert (frequencies.min(), frequencies.sum()) == (frequencies.min().clip(1), TOTAL)
    bounds, ours = np.append(0, frequencies.cumsum()), weights(torch.from_numpy(frequencies)[None])
    for code in {0, bins - 1, int(frequencies.argmin()), *draw.integers(0, bins, 40).tolist()}:
        for place in (bounds[code], bounds[code + 1] - 1):
            encoder = RangeEncoder()
            encoder.encode(np.array([place], np.int32), constriction.stream.model.Uniform(TOTAL))
            assert RangeDecoder(encoder.get_compressed()).decode(FAMILY, ours)[0] == code


@settings(max_examples=25, deadline=None)
@given(
    bins=st.integers(2, 40), streams=st.integers(1, 2), codebooks=st.integers(1, 3), chunks=st.integers(1, 3),
    frames=st.sampled_from([0, 1, 2, 5, 65]), seed=st.integers(0, 999),
)  # fmt: skip
def test_chunks_come_back_whatever_their_shape(bins, streams, codebooks, chunks, frames, seed):
    shape = (streams, codebooks, frames)
    codes = [torch.from_numpy(np.random.default_rng([seed, i]).integers(0, bins, shape)) for i in range(chunks)]
    coding = RangeCoding(Hashing(bins))
    payloads = [coding.encode(chunk) for chunk in codes]
    together = coding.decode(payloads, shape)
    for chunk, payload, found in zip(codes, payloads, together, strict=True):
        assert torch.equal(found, chunk)
        assert torch.equal(coding.decode([payload], shape)[0], chunk)
        assert frames or not payload


def test_codes_cost_what_their_frequencies_say():
    predictor = Hashing(20)
    likely = []  # codes drawn by their frequencies, as a trained model would find them
    draw = np.random.default_rng(0)

    def choose(frequencies: Tensor) -> Tensor:
        likely.append(draw.choice(20, p=frequencies[0].numpy() / TOTAL))
        return torch.tensor(likely[-1:])

    state = predictor.start(1, 300)
    codes = torch.cat([predictor.walk(2, choose, state) for _ in range(300)], dim=2)
    bits = float(cost(predictor.read(codes, predictor.start(1, 300)), codes).sum())
    size = 8 * len(RangeCoding(predictor).encode(codes))
    assert bits < 0.8 * 600 * np.log2(20)
    assert bits <= size < bits + 64


def test_bytes_that_are_no_message_never_raise():
    coding, draw = RangeCoding(Hashing(30)), np.random.default_rng(0)
    for size in (0, 4, 8, 40, 400):
        found = coding.decode([draw.bytes(size)], (1, 2, 20))[0]
        assert found is None or (found.shape == (1, 2, 20) and found.max() < 30)
    codes = torch.from_numpy(draw.integers(0, 30, (1, 2, 20)))
    # Half a word, and what no message of so many codes begins with, do no harm to their neighbour.
    first, whole, last = coding.decode([b"abc", coding.encode(codes), b"\xff" * 40], (1, 2, 20))
    assert (first, last) == (None, None)
    assert torch.equal(whole, codes)
