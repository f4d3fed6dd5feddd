import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2a.tokens.packing import Packing


@settings(max_examples=50, deadline=None)
@given(
    bins=st.integers(2, 5000), shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(0, 20)),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_codes_survive_packing_in_no_more_bits_than_they_need(bins, shape, seed):
    codes = torch.from_numpy(np.random.default_rng(seed).integers(0, bins, shape))
    packing = Packing(bins)
    packed = packing.encode(codes)
    assert len(packed) == -(-codes.numel() * int(np.ceil(np.log2(bins))) // 8)
    first, second = packing.decode([packed, packed], shape)
    assert torch.equal(first, codes)
    assert torch.equal(second, codes)


def test_bytes_of_another_size_are_no_chunk():
    packed = Packing(10).encode(torch.zeros(1, 2, 8, dtype=torch.int64))
    assert Packing(10).decode([packed + b"x", packed[:-1], packed], (1, 2, 8))[:2] == [None, None]
