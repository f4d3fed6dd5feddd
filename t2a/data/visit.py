"""Read one row group of a shard through the storage, telling definite damage from an outage."""

import functools
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from t2a import storage
from t2a.data.shards import Shard

TAIL = 64 * 1024  # bytes read at the end of a shard; holds most footers


class DamagedError(Exception):
    """The shard will never be readable as it is; the message is the reason its rows are counted under."""


def read_row_group(uri: str, shard: Shard, row_group: int, columns: list[str]) -> list[dict[str, Any]]:
    """Read the rows of one row group, page checksums verified, with one request for data.

    Faults of the storage are waited out by it and raise StorageError in the end; DamagedError is for a shard that is
    missing, cut off or altered: everything is parsed from memory, so that no parse error can be an outage.
    """
    where = storage.join(uri, shard.name)
    footer = _footer(where, shard.bytes)
    if footer.num_row_groups <= row_group or footer.row_group(row_group).num_rows != shard.row_groups[row_group]:
        raise DamagedError("shard altered")
    start, stop = _extent(footer.row_group(row_group))
    held = _Extent(_fetch(where, start, stop - start), start, shard.bytes)
    try:
        file = pq.ParquetFile(pa.PythonFile(held, mode="r"), metadata=footer, page_checksum_verification=True)
        present = [name for name in columns if name in file.schema_arrow.names]
        rows = file.read_row_group(row_group, columns=present, use_threads=False).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedError("shard damaged") from error
    return [{name: row.get(name) for name in columns} for row in rows]


@functools.lru_cache(maxsize=256)
def _footer(where: str, size: int) -> pq.FileMetaData:
    tail = _fetch(where, max(size - TAIL, 0), min(size, TAIL))
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if TAIL < length <= size:
        tail = _fetch(where, size - length, length)
    try:
        return pq.read_metadata(pa.BufferReader(tail))
    except (pa.ArrowException, OSError) as error:
        raise DamagedError("shard damaged") from error


def _fetch(where: str, start: int, length: int) -> bytes:
    try:
        filesystem, path = storage.filesystem(where)
        data = filesystem.cat_file(path, start=start, end=start + length)
    except FileNotFoundError as error:
        raise DamagedError("shard missing") from error
    if len(data) < length:
        raise DamagedError("shard cut off")
    return data


def _extent(group: pq.RowGroupMetaData) -> tuple[int, int]:
    """Byte range [start, stop) of all column chunks of a row group."""
    columns = [group.column(i) for i in range(group.num_columns)]
    starts = [c.dictionary_page_offset or c.data_page_offset for c in columns]
    return min(starts), max(s + c.total_compressed_size for s, c in zip(starts, columns, strict=True))


class _Extent(io.RawIOBase):
    """A file of `size` bytes of which only `data`, from `start` on, is at hand."""

    def __init__(self, data: bytes, start: int, size: int) -> None:
        super().__init__()
        self.data = memoryview(data)
        self.start = start
        self.size = size
        self.at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def read(self, count: int = -1) -> memoryview:  # type: ignore[override] - Arrow takes it without a copy
        begin = self.at - self.start
        end = len(self.data) if count < 0 else begin + count
        piece = self.data[begin:end] if begin >= 0 else self.data[:0]
        self.at += len(piece)
        return piece
