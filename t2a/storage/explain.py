"""What a failure of storage means to the user: one sentence with the remedy."""

import errno
from pathlib import Path
from types import TracebackType

import botocore.exceptions

from t2a.errors import StorageError
from t2a.storage.s3 import brief, code, endpoint, transient


class Explained:
    """Explains the OSErrors of local files met inside a `with` block."""

    def __init__(self, uri: str | Path) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise explain(self.uri, error) from error


def explain(uri: str | Path, error: BaseException) -> StorageError:
    """Say in one sentence what failed and what to do."""
    answer = code(error)
    bucket = str(uri).removeprefix("s3://").partition("/")[0]
    if isinstance(error, botocore.exceptions.NoCredentialsError | botocore.exceptions.PartialCredentialsError):
        what = "no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    elif answer == "NoSuchBucket":
        what = f"there is no bucket {bucket!r} at {endpoint()}; create it or correct the URI"
    elif answer == "InvalidAccessKeyId":
        what = f"{endpoint()} does not know this access key; check AWS_ACCESS_KEY_ID"
    elif answer == "SignatureDoesNotMatch":
        what = f"{endpoint()} refuses the secret key; check AWS_SECRET_ACCESS_KEY"
    elif transient(error):
        what = f"no good answer from {endpoint()} ({brief(error)}); check that it runs and AWS_ENDPOINT_URL"
    elif getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        what = "the disk is full; free some space or write elsewhere"
    elif getattr(error, "errno", None) == errno.EROFS:
        what = "the disk is read-only; write elsewhere"
    elif isinstance(error, FileNotFoundError):
        what = "no such file or folder"
    elif isinstance(error, PermissionError):
        what = "access is denied; check the permissions of this place"
    else:
        what = brief(error)
    return StorageError(f"{uri}: {what}.")
