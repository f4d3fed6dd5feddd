"""Readers of the containers that games keep sounds in: zip (.pk3), Qt resources (.rcc), OpenTTD sound sets (.cat)."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

AUDIO_SUFFIXES = (".wav", ".ogg", ".oga", ".flac")
_FOLDER, _ZLIB, _ZSTD = 2, 1, 4  # flags of an entry of a Qt resource
Member = tuple[str, bytes]


def zip_members(path: Path) -> Iterator[Member]:
    """The sounds of a zip file, sorted by name."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.lower().endswith(AUDIO_SUFFIXES):
                yield name, archive.read(name)


def rcc_members(path: Path) -> Iterator[Member]:
    """The sounds of a binary Qt resource, named by the bundle and the file.

    Layout: magic, version, offsets of tree, data and names; a tree node is 14 bytes (version 1) or 22 bytes.
    """
    data = path.read_bytes()
    magic, version, tree, contents, names = struct.unpack_from(">4sIIII", data)
    if magic != b"qres":
        raise ValueError(f"{path.name} is no Qt resource")
    size = 14 if version == 1 else 22

    def entries(node: int) -> Iterator[Member]:
        name_at, flags = struct.unpack_from(">IH", data, tree + node * size)
        if flags & _FOLDER:
            count, first = struct.unpack_from(">II", data, tree + node * size + 6)
            for child in range(first, first + count):
                yield from entries(child)
        elif not flags & _ZSTD:
            (length,) = struct.unpack_from(">H", data, names + name_at)
            name = data[names + name_at + 6 :][: 2 * length].decode("utf-16-be")
            start = contents + struct.unpack_from(">I", data, tree + node * size + 10)[0]
            content = data[start + 4 :][: struct.unpack_from(">I", data, start)[0]]
            if name.endswith(AUDIO_SUFFIXES):
                yield f"{path.stem}/{name}", zlib.decompress(content[4:]) if flags & _ZLIB else content

    yield from entries(0)


def cat_members(path: Path) -> Iterator[Member]:
    """The sounds of an OpenTTD sound set, each under its whole label.

    Layout: offset and length of each sound, then label length, label and wav of each.
    """
    data = path.read_bytes()
    high_bit = 0x7FFFFFFF  # marks the newer form of the file
    count = (struct.unpack_from("<I", data)[0] & high_bit) // 8
    for i in range(count):
        start, length = struct.unpack_from("<II", data, i * 8)
        start = (start & high_bit) + 1
        label = data[start - 1]
        yield data[start:][:label].split(b"\0")[0].decode("latin1"), data[start + label :][:length]


def folder_members(path: Path) -> Iterator[Member]:
    """The sounds below a folder, by relative path, folder after folder."""
    found = (p for p in path.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())
    for file in sorted(found, key=lambda p: (str(p.parent), p.name)):
        yield file.relative_to(path).as_posix(), file.read_bytes()


READERS: dict[str, Callable[[Path], Iterator[Member]]] = {
    "zip": zip_members,
    "rcc": rcc_members,
    "cat": cat_members,
}
