"""Write a model folder of several parts, which appears whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from t2a import storage
from t2a.errors import ConfigError

T = TypeVar("T")


def written(fill: Callable[[Path], T], out: str) -> T:
    """Let `fill` make a local folder, then move it to `out`, local or on s3://, and return what `fill` returns.

    Raises `ConfigError` when something lies there, before anything is made.
    """
    if storage.exists(out):
        raise ConfigError(f"{out} is there already; name a new folder or remove it.")
    local = None if out.startswith("s3://") else Path(out.removeprefix("file://"))
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=None if local is None else local.parent) as folder:
        made = Path(folder) / "model"
        found = fill(made)
        if local is None:
            storage.upload(made, out)
        else:
            shutil.move(made, local)
    return found
