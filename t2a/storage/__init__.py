"""Places to read from and write to: a URI is a local path, `file://...` or `s3://bucket/key`."""

from t2a.storage.places import (
    arrow_filesystem,
    check,
    download,
    exists,
    files,
    filesystem,
    fingerprint,
    folders,
    join,
    read_bytes,
    remove,
    upload,
    write_bytes,
)

__all__ = [
    "arrow_filesystem",
    "check",
    "download",
    "exists",
    "files",
    "filesystem",
    "fingerprint",
    "folders",
    "join",
    "read_bytes",
    "remove",
    "upload",
    "write_bytes",
]
