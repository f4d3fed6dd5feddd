"""One file of a place, opened to be read or written in pieces."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import botocore.exceptions

from t2a.storage.explain import explain
from t2a.storage.places import filesystem, upload

AHEAD = 2**20  # bytes that are fetched of an object at a time


@contextmanager
def reading(uri: str | Path) -> Iterator[BinaryIO]:
    """Open a file or object to read and seek in; of an object little more than what is read travels.

    Raises `StorageError`.
    """
    fs, path = filesystem(uri)
    try:
        with cast(Any, fs.open(path, "rb", block_size=AHEAD)) as file:
            yield file
    except (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise explain(uri, error) from error


@contextmanager
def writing(uri: str | Path) -> Iterator[BinaryIO]:
    """Open a file to write and seek in; it appears at its place, whole, when the block ends without an error."""
    place = PurePosixPath(str(uri))
    with tempfile.TemporaryDirectory(prefix="t2a-") as folder:
        with (Path(folder) / place.name).open("w+b") as file:
            yield file
        upload(Path(folder), str(uri)[: -len(place.name)] or ".")
