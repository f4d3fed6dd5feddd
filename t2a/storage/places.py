"""Files, objects and trees behind a URI, each call patient with faults that pass and clear about those that do not.

Endpoint and credentials come from the environment (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`)
and are read there by botocore, so that no object of ours, nothing pickled and no log line holds a secret.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import botocore.exceptions
import fsspec
import tenacity
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs as arrow

from t2a.errors import StorageError
from t2a.storage.explain import Explained, explain
from t2a.storage.s3 import TRANSIENT, code, connect, patience, policy, transient

T = TypeVar("T")

TRANSFERS = 8  # files under way at once in `upload`, `download` and `remove`
CHECK_SECONDS = 5.0  # `check` is asked at the start of a command: it does not wait for a server to come back


def filesystem(uri: str | Path) -> tuple[fsspec.AbstractFileSystem, str]:
    """The fsspec filesystem of a URI and the path within it. Safe in threads, after a fork and in Ray workers."""
    scheme, path = _split(uri)
    return (LocalFileSystem(auto_mkdir=True), path) if scheme == "file" else (connect(patience()), path)


def arrow_filesystem(uri: str | Path) -> tuple[arrow.FileSystem, str]:
    """The pyarrow filesystem of a URI and the path within it; can be pickled to other machines without secrets."""
    scheme, path = _split(uri)
    if scheme == "file":
        return arrow.LocalFileSystem(), path
    return arrow.PyFileSystem(arrow.FSSpecHandler(connect(patience()))), path


def join(uri: str | Path, *parts: str) -> str:
    """Add path parts below a URI; parts that lead out of it are a `ValueError`."""
    for part in parts:
        if _escapes(part):
            raise ValueError(f"{part!r} leads out of {uri}")
    return "/".join([str(uri).rstrip("/"), *(part.strip("/") for part in parts if part)]) if parts else str(uri)


def exists(uri: str | Path) -> bool:
    """Tell whether a file, an object or a folder with something in it is there."""
    scheme, path = _split(uri)
    if scheme == "file":
        return Path(path).exists()
    try:
        _attempt(uri, lambda fs: fs.info(path), missing_is_fine=True)
    except FileNotFoundError:
        return False
    return True


def read_bytes(uri: str | Path) -> bytes:
    """Read a whole file or object."""
    _, path = _split(uri)
    return _attempt(uri, lambda fs: fs.cat_file(path))


def write_bytes(uri: str | Path, data: bytes) -> None:
    """Write a whole file or object; readers see the old content or the new one, never a part."""
    scheme, path = _split(uri)
    if scheme == "s3":
        _attempt(uri, lambda fs: fs.pipe_file(path, data))
        return
    with Explained(uri):
        _replace(Path(path), lambda part: part.write_bytes(data))


def files(uri: str | Path) -> dict[str, int]:
    """Relative path -> size in bytes of every file below a folder; empty when there is no such folder."""
    scheme, path = _split(uri)
    if scheme == "file":
        root = Path(path)
        with Explained(uri):
            return {
                p.relative_to(root).as_posix(): p.stat().st_size
                for p in sorted(root.rglob("*"))
                if p.is_file() and not _passing(p)
            }
    try:
        found = _attempt(uri, lambda fs: fs.find(path, detail=True), missing_is_fine=True)
    except FileNotFoundError:
        return {}
    prefix = path.rstrip("/") + "/"
    return {
        name.removeprefix(prefix): int(info["size"])
        for name, info in sorted(found.items())
        if name.startswith(prefix) and not info["Key"].endswith("/")  # some tools store "folder/" objects
    }


def fingerprint(uri: str | Path) -> str:
    """A hash of a place and what lies there now: names, sizes, and ETags on S3 or times of change on a local disk."""
    scheme, path = _split(uri)
    sizes = files(uri)
    if scheme == "s3":
        found = _attempt(uri, lambda fs: fs.find(path, detail=True))
        marks = [(name, info.get("ETag")) for name, info in sorted(found.items())]
    else:
        marks = [(name, (Path(path) / name).stat().st_mtime_ns) for name in sizes]
    return hashlib.sha256(repr((f"{scheme}://{path}", sizes, marks)).encode()).hexdigest()[:32]


def folders(uri: str | Path) -> list[str]:
    """Names of the direct subfolders, sorted; empty when there is no such folder."""
    scheme, path = _split(uri)
    if scheme == "file":
        with Explained(uri):
            inside = Path(path).iterdir() if Path(path).is_dir() else []
            return sorted(p.name for p in inside if p.is_dir() and not _passing(p))
    try:
        found = _attempt(uri, lambda fs: fs.ls(path, detail=True), missing_is_fine=True)
    except FileNotFoundError:
        return []
    return sorted(PurePosixPath(info["name"]).name for info in found if info["type"] == "directory")


def upload(folder: Path, uri: str | Path) -> None:
    """Copy a local tree below a URI, several files at once."""
    if not Path(folder).is_dir():
        raise StorageError(f"Cannot upload {folder}: no such folder.")
    scheme, path = _split(uri)

    def one(name: str) -> None:
        source, target = Path(folder) / name, f"{path.rstrip('/')}/{name}"
        if scheme == "s3":
            _attempt(join(uri, name), lambda fs: fs.put_file(str(source), target))
        else:
            with Explained(target):
                _replace(Path(target), lambda part: shutil.copyfile(source, part))

    _each(one, files(folder))


def download(uri: str | Path, folder: Path) -> None:
    """Copy the tree below a URI into a local folder, several files at once; object names with `..` are refused."""
    scheme, path = _split(uri)
    names = files(uri)
    if not names:
        raise StorageError(f"Cannot download {uri}: nothing is there.")
    for name in names:
        if _escapes(name):
            raise StorageError(f"Refusing to download {uri}: its object name {name!r} leads out of the target folder.")

    def one(name: str) -> None:
        source, target = f"{path.rstrip('/')}/{name}", Path(folder) / name
        with Explained(target):
            if scheme == "s3":
                place = f"{join(uri, name)} -> {folder}"
                _replace(target, lambda part: _attempt(place, lambda fs: fs.get_file(source, str(part))))
            else:
                _replace(target, lambda part: shutil.copyfile(source, part))

    _each(one, names)


def remove(uri: str | Path) -> None:
    """Remove a file or a tree; what is not there is no error. A whole bucket or disk is refused."""
    scheme, path = _split(uri)
    if len(PurePosixPath(path).parts) < 2:
        raise ValueError(f"Refusing to remove all of {uri}")
    if scheme == "s3":
        _each(lambda name: _attempt(join(uri, name), lambda fs: fs.rm_file(f"{path}/{name}")), files(uri))
        _attempt(uri, lambda fs: fs.rm_file(path))  # the object itself; S3 does not mind when there is none
        return
    target = Path(path)
    with Explained(uri):
        if target.is_dir() and not target.is_symlink():
            doomed = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.removed")
            target.rename(doomed)  # at once: nobody meets a half-removed tree
            shutil.rmtree(doomed)
        else:
            target.unlink(missing_ok=True)


def check(uri: str | Path, write: bool = False) -> None:
    """Raise `StorageError` unless the place can be listed, and with `write` also written, within seconds."""
    scheme, path = _split(uri)
    probe = f"{path.rstrip('/')}/.t2a-{uuid.uuid4().hex[:8]}"
    if scheme == "s3":
        bucket = path.partition("/")[0]
        # A listing rather than HEAD: only its answer has a body, which tells a wrong key from a wrong secret.
        _attempt(uri, lambda fs: fs.call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1), wait=CHECK_SECONDS)
        if write:
            _attempt(uri, lambda fs: fs.pipe_file(probe, b"t2a"), wait=CHECK_SECONDS)
            _attempt(uri, lambda fs: fs.rm_file(probe), wait=CHECK_SECONDS)
        return
    if not write:
        if not Path(path).exists():
            raise StorageError(f"{uri}: no such file or folder.")
        return
    with Explained(uri):
        _replace(Path(probe), lambda part: part.write_bytes(b"\0" * 4096))
        Path(probe).unlink()


def _split(uri: str | Path) -> tuple[str, str]:
    """("file", absolute path) or ("s3", "bucket/key")."""
    scheme, mark, rest = str(uri).partition("://")
    if not mark:
        return "file", os.path.abspath(os.path.expanduser(str(uri)))  # noqa: PTH100, PTH111 - not through symlinks
    if scheme == "file":
        return "file", os.path.abspath(rest)  # noqa: PTH100
    if scheme != "s3":
        raise StorageError(f"{uri}: {scheme}:// is not supported; use a local path, file:// or s3://.")
    if not rest.strip("/"):
        raise StorageError(f"{uri}: the bucket is missing; write s3://BUCKET/PATH.")
    return "s3", rest.strip("/")


def _attempt(uri: str | Path, call: Callable[[Any], T], wait: float | None = None, missing_is_fine: bool = False) -> T:
    """Run `call(filesystem)` and explain what went wrong at `uri`; `FileNotFoundError` passes when `missing_is_fine`.

    The filesystem waits for single requests by itself; what is tried again here is a transfer that broke within a
    body, and one whose multipart upload did not survive a restart of the server.
    """
    wait = patience() if wait is None else wait
    fs = connect(wait) if _split(uri)[0] == "s3" else filesystem(uri)[0]
    again = tenacity.retry_if_exception(lambda error: transient(error) or code(error) == "NoSuchUpload")
    try:
        return tenacity.Retrying(**{**policy(wait), "retry": again})(call, fs)
    except (OSError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, *TRANSIENT) as error:
        if missing_is_fine and isinstance(error, FileNotFoundError) and code(error) != "NoSuchBucket":
            raise
        raise explain(uri, error) from error


def _escapes(name: str) -> bool:
    return name.startswith("/") or ".." in PurePosixPath(name).parts


def _passing(path: Path) -> bool:
    """Names that `_replace` and `remove` give to what is on its way."""
    return path.name.startswith(".") and path.suffix in (".part", ".removed")


def _replace(target: Path, write: Callable[[Path], Any]) -> None:
    """Write beside `target` and rename onto it, so that it is whole at any time; nothing is left on failure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _each(work: Callable[[str], None], names: Iterable[str]) -> None:
    """Run `work` on every name in threads; the first error ends it."""
    with ThreadPoolExecutor(TRANSFERS, thread_name_prefix="t2a-storage") as pool:
        try:
            for _ in pool.map(work, names):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
