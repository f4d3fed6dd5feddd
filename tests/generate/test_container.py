import io
import json

import numpy as np
import pytest

from t2a.errors import DataError
from t2a.generate.container import OVERHEAD, Header, Identity, Payload, Reader, Writer, checksum

SAMPLES, SPANS = 95, [(0, 4), (4, 8), (8, 10)]


def header(**changes) -> Header:
    values = {"codec": Identity(where="m", fingerprint="f"), "sample_rate": 100, "streams": 2, "codebooks": 3}
    return Header(**values | {"bins": 1000, "hop": 10, "chunk": 4} | changes)


def chunks() -> list[tuple[bytes, np.ndarray]]:
    draw = np.random.default_rng(0)
    return [(draw.bytes(5 * (b - a)), draw.integers(0, 1000, (2, 3, b - a))) for a, b in SPANS]


def file() -> bytes:
    written = io.BytesIO()
    writer = Writer(written, header())
    for payload, codes in chunks():
        writer.add(payload, codes)
    assert writer.finish(SAMPLES) == len(written.getvalue())
    return written.getvalue()


def read(data: bytes) -> list[Payload | None]:
    reader = Reader(io.BytesIO(data), "x")
    return [reader.read(i) for i in range(len(reader.spans))]


EXPECTED = [Payload(payload, checksum(codes)) for payload, codes in chunks()]


def test_what_is_written_is_read_in_any_order():
    reader = Reader(io.BytesIO(file()), "x")
    assert (reader.header, reader.samples, reader.spans) == (header(), SAMPLES, SPANS)
    assert [reader.read(i) for i in (2, 0, 1)] == [EXPECTED[i] for i in (2, 0, 1)]
    assert [reader.seconds(i) for i in range(3)] == [(0.0, 0.4), (0.4, 0.8), (0.8, 0.95)]


def test_a_chunk_costs_its_payload_and_the_stated_overhead():
    empty = io.BytesIO()
    size = Writer(empty, header()).finish(SAMPLES)
    assert len(file()) == size + sum(len(payload) + OVERHEAD for payload, _ in chunks())


def test_a_part_is_read_without_the_rest():
    class Watched(io.BytesIO):
        seen = 0

        def read(self, size=-1):
            data = super().read(size)
            self.seen += len(data)
            return data

    watched = Watched(file())
    reader = Reader(watched, "x")
    watched.seen = 0
    reader.read(2)
    assert watched.seen == len(EXPECTED[2].data) + 12


def test_one_flipped_bit_costs_one_chunk_at_most():
    data = file()
    start = data.index(EXPECTED[0].data) - 12
    costs = []
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        if place < start:
            with pytest.raises(DataError, match=r"^x"):
                read(bytes(damaged))
            continue
        found = read(bytes(damaged))
        wrong = [i for i, (a, b) in enumerate(zip(found, EXPECTED, strict=True)) if a != b]
        assert all(found[i] is None for i in wrong)
        costs.append(len(wrong))
    assert max(costs) == 1
    # Of a chunk the checksums and the payload count; its length stands in the index too, which in turn may be damaged.
    assert sum(costs) == sum(8 + len(payload.data) for payload in EXPECTED)


def test_every_cut_is_found():
    data = file()
    for size in range(len(data)):
        with pytest.raises(DataError, match=r"^x.*(cut off|not a file|damaged)"):
            read(data[:size])


def test_what_lies_between_start_and_end_must_be_all():
    data = file()
    place = data.index(EXPECTED[1].data)
    for other in (data[:place] + data[place + 3 :], data[:place] + b"abc" + data[place:]):
        with pytest.raises(DataError, match=r"overwritten|goes on"):
            read(other)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a file that `t2a compress` wrote"),
        (b"RIFF" + bytes(100), "not a file that `t2a compress` wrote"),
        (b"T2AC\x09" + bytes(100), "format 9"),
        (b"T2AC\x01" + bytes(100), "format 1.*reads format 2"),
        (b"T2AC\x02\xff\xff\xff\xff" + bytes(100), "header is damaged"),
        (file() + b"!", "goes on after its last chunk"),
        (file()[:-30], r"cut off, or overwritten, from about 1 s on"),
    ],
)
def test_the_error_says_what_is_wrong(data, message):
    with pytest.raises(DataError, match=message):
        read(data)


def test_a_length_that_no_file_holds_costs_no_memory():
    written = io.BytesIO()
    Writer(written, header()).finish(2**63)
    with pytest.raises(DataError, match="holds less than its header says"):
        read(written.getvalue())


def test_a_header_that_makes_no_sense_is_refused():
    written = io.BytesIO()
    Writer(written, header().model_copy(update={"hop": 0})).finish(SAMPLES)
    with pytest.raises(DataError, match="header is damaged"):
        read(written.getvalue())
    assert json.loads(header().model_dump_json())["entropy"] is None
