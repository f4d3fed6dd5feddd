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
from t2a.storage.streams import reading, writing

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
    "reading",
    "remove",
    "upload",
    "write_bytes",
    "writing",
]
