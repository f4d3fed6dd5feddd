"""S3 through s3fs: patient with servers that are away, plain about everything else."""

import hashlib
import logging
import os
import time
from functools import lru_cache
from typing import Any

import botocore.exceptions
import s3fs
import tenacity

log = logging.getLogger(__name__)

CONNECTIONS = 32  # to one endpoint, from one process
CONFIG = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "max_pool_connections": CONNECTIONS,
    "retries": {"total_max_attempts": 1},  # all waiting happens, and is told, in `PatientS3`
}
TRANSIENT = (
    ConnectionError,
    TimeoutError,
    botocore.exceptions.ConnectionError,  # refused, unknown host
    botocore.exceptions.HTTPClientError,  # reset, timed out, closed within a body
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ResponseStreamingError,
    *s3fs.core.S3_RETRYABLE_ERRORS,
)


def transient(error: BaseException) -> bool:
    """Tell whether asking again may help: no connection, a time-out, 5xx or "slow down"; never 403 or 404."""
    answer = response(error)
    if answer:
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status in (408, 429) or status >= 500
    return isinstance(error, TRANSIENT)


class PatientS3(s3fs.S3FileSystem):
    """s3fs whose every request waits through transient faults for up to `patience` seconds, then fails.

    All of s3fs (listings, parts, file objects, and so Arrow and Ray above it) passes through `_call_s3`, which makes
    it the one place to wait in. Says once that it waits and once that it goes on. Listings are never cached: other
    processes write to the same places.
    """

    def __init__(self, *, patience: float, **options: Any) -> None:
        super().__init__(use_listings_cache=False, config_kwargs=CONFIG, **options)
        self.patience = patience
        self._away_since: float | None = None

    async def _call_s3(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        retrying = tenacity.AsyncRetrying(**policy(self.patience), before_sleep=self._tell_away)
        answer = await retrying(super()._call_s3, method, *arguments, **keywords)
        if self._away_since is not None:
            log.warning("S3 at %s answers again after %.0f s.", endpoint(), time.monotonic() - self._away_since)
            self._away_since = None
        return answer

    def _tell_away(self, state: tenacity.RetryCallState) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            error = state.outcome.exception() if state.outcome else None
            log.warning("S3 at %s fails (%s); waiting up to %.0f s for it.", endpoint(), brief(error), self.patience)


def connect(patience: float) -> PatientS3:
    """The filesystem for this process and environment: sockets do not survive a fork, nor keys a change of them."""
    environment = sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
    return _connect(patience, os.getpid(), hashlib.sha256(repr(environment).encode()).hexdigest())


@lru_cache(maxsize=8)
def _connect(patience: float, pid: int, environment: str) -> PatientS3:
    return PatientS3(patience=patience, skip_instance_cache=True)


def policy(patience: float) -> dict[str, Any]:
    """How to retry: exponentially longer pauses with jitter, at most 5 s, until `patience` seconds have passed."""
    return {
        "retry": tenacity.retry_if_exception(transient),
        "stop": tenacity.stop_after_delay(patience),
        "wait": tenacity.wait_exponential_jitter(initial=0.2, max=5, jitter=0.5),
        "reraise": True,
    }


def endpoint() -> str:
    """The S3 address in use, for messages."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"


def patience() -> float:
    """Seconds to wait for a server that is away, `T2A_STORAGE_PATIENCE`."""
    return float(os.environ.get("T2A_STORAGE_PATIENCE", "180"))


def response(error: BaseException | None) -> dict[str, Any]:
    """The answer of the S3 server behind an error, {} where none came; s3fs keeps it in the cause."""
    while error is not None and not isinstance(error, botocore.exceptions.ClientError):
        error = error.__cause__
    return dict(error.response) if error is not None else {}


def code(error: BaseException) -> str:
    """The S3 error code (`NoSuchBucket`, ...) behind an error, "" where there is none."""
    return response(error).get("Error", {}).get("Code", "")


def brief(error: BaseException | None) -> str:
    """An error in one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
