import io
import json
import struct
import zlib

import numpy as np
import pytest

from t2a.errors import DataError
from t2a.generate.container import OVERHEAD, Header, Identity, Payload, Reader, Segments, Writer, checksum

SAMPLES, SPANS, FRAMES = 95, [(0, 40), (40, 80), (80, 95)], [4, 4, 2]


def header(**changes) -> Header:
    values = {"codec": Identity(where="m", fingerprint="f"), "sample_rate": 100, "streams": 2, "codebooks": 3}
    return Header(**values | {"bins": 1000, "hop": 10, "chunk": 4} | changes)


def chunks() -> list[tuple[bytes, np.ndarray]]:
    draw = np.random.default_rng(0)
    return [(draw.bytes(5 * frames), draw.integers(0, 1000, (2, 3, frames))) for frames in FRAMES]


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
    assert [reader.frames(i) for i in range(3)] == [[frames] for frames in FRAMES]
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
        (b"T2AC\x01" + bytes(100), "format 1.*reads formats 2 and 3"),
        (b"T2AC\x02\xff\xff\xff\xff" + bytes(100), "header is damaged"),
        (file() + b"!", "goes on after its last chunk"),
        (file()[:-30], r"cut off, or overwritten, from about 1 s on"),
    ],
)
def test_the_error_says_what_is_wrong(data, message):
    with pytest.raises(DataError, match=message):
        read(data)


def version_2(data: bytes) -> bytes:
    """The same file as the version before wrote it: its header has no word of segments."""
    size, samples = struct.unpack_from("<IQ", data, 5)
    values = json.loads(data[17 : 17 + size])
    assert values.pop("segments") is None
    text = json.dumps(values).encode()
    body = struct.pack("<IQ", len(text), samples) + text
    return b"T2AC\x02" + body + struct.pack("<I", zlib.crc32(body)) + data[17 + size + 4 :]


def test_files_of_the_version_before_are_read():
    assert read(version_2(file())) == EXPECTED
    reader = Reader(io.BytesIO(version_2(file())), "x")
    assert (reader.header, reader.spans) == (header(), SPANS)


SEGMENTS = Segments(size=35, stride=30, scaled=True)  # 4 frames of 10 samples, two of them a chunk
SCALES = [np.float32([[0.1, 0.2], [0.3, 0.4]]), np.float32([[0.5, 0.6], [0.7, 0.8]])]


def segmented(scales: list[np.ndarray] = SCALES, samples: int = SAMPLES, **changes) -> bytes:
    written = io.BytesIO()
    writer = Writer(written, header(chunk=8, segments=SEGMENTS, **changes))
    for place, scale in enumerate(scales):
        writer.add(b"codes of %d" % place, np.full((2, 3, 8), place), scale)
    writer.finish(samples)
    return written.getvalue()


def test_a_chunk_has_whole_segments_and_the_scale_of_each():
    reader = Reader(io.BytesIO(segmented()), "x")
    assert reader.spans == [(0, 60), (60, 95)]
    assert [reader.frames(i) for i in range(2)] == [[4, 4], [4, 1]]
    for place, expected in enumerate(SCALES):
        payload = reader.read(place)
        assert (payload.data, payload.codes) == (b"codes of %d" % place, checksum(np.full((2, 3, 8), place)))
        np.testing.assert_array_equal(payload.scales, expected)


@pytest.mark.parametrize(
    ("samples", "frames"), [(1, [[1]]), (30, [[3]]), (31, [[4, 1]]), (60, [[4, 3]]), (61, [[4, 4], [1]])]
)
def test_segments_follow_the_length_of_the_clip(samples, frames):
    scales = [np.ones((2, len(each)), np.float32) for each in frames]
    reader = Reader(io.BytesIO(segmented(scales, samples)), "x")
    assert [reader.frames(i) for i in range(len(reader.spans))] == frames
    assert all(reader.read(i).scales.shape == (2, len(each)) for i, each in enumerate(frames))


def test_a_flipped_bit_of_a_scale_costs_its_chunk_alone():
    data = segmented()
    start = data.index(SCALES[1].tobytes())
    for place in range(start, start + 16):
        damaged = bytearray(data)
        damaged[place] ^= 1
        first, second = read(bytes(damaged))
        assert first is not None
        assert second is None


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_is_no_loudness_costs_its_chunk(scale):
    bad = SCALES[0].copy()
    bad[1, 1] = scale
    first, second = read(segmented([bad, SCALES[1]]))
    assert first is None
    assert second is not None


def test_a_chunk_too_short_for_its_scales_is_damaged():
    assert read(segmented([np.float32([[1]]), SCALES[1]], streams=9))[0] is None


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
