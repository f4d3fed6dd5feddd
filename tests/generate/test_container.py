import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2a.errors import DataError
from t2a.generate import container
from t2a.generate.container import Header


def header(**changes) -> Header:
    values = {"model": "m", "fingerprint": "f", "sample_rate": 100, "length": 95, "streams": 2, "codebooks": 3}
    return Header(**values | {"bins": 1000, "hop": 10, "chunk": 4} | changes)


def file() -> tuple[bytes, list[np.ndarray]]:
    draw = np.random.default_rng(0)
    chunks = [draw.integers(0, 1000, (2, 3, frames)) for frames in (4, 4, 2)]
    return container.write(header(), chunks), chunks


@settings(max_examples=50, deadline=None)
@given(bins=st.integers(2, 5000), count=st.integers(0, 50), seed=st.integers(0, 99))
def test_codes_survive_packing_in_no_more_bits_than_they_need(bins, count, seed):
    codes = np.random.default_rng(seed).integers(0, bins, (count, 2))
    packed = container.pack(codes, bins)
    assert len(packed) == -(-2 * count * int(np.ceil(np.log2(bins))) // 8)
    assert np.array_equal(container.unpack(packed, codes.shape, bins), codes)


def test_what_is_written_is_read():
    data, chunks = file()
    found, codes = container.read(data, "x")
    assert found == header()
    assert found.spans() == [(0, 4), (4, 8), (8, 10)]
    assert all(np.array_equal(a, b) for a, b in zip(codes, chunks, strict=True))


def test_every_flipped_bit_is_found():
    data, _ = file()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        with pytest.raises(DataError, match=r"^x"):
            container.read(bytes(damaged), "x")


def test_every_cut_is_found():
    data, _ = file()
    for size in range(len(data)):
        with pytest.raises(DataError):
            container.read(data[:size], "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x is not a file that `t2a compress` wrote"),
        (b"RIFF" + bytes(100), "x is not a file that `t2a compress` wrote"),
        (b"T2AC\x09" + bytes(100), "format 9"),
        (b"T2AC\x01\xff\xff\xff\xff", "header is damaged"),
        (file()[0] + b"!", "goes on for 1 bytes"),
        (file()[0][:-1], r"chunk 3 of 3 \(0.80 to 1.00 s\) is cut off"),
    ],
)
def test_the_error_says_what_is_wrong(data, message):
    with pytest.raises(DataError, match=message):
        container.read(data, "x")
