"""What can be known to be wrong with a run before anything is started."""

import difflib

import torch

from t2a import storage
from t2a.data.shards import read_manifest
from t2a.errors import ConfigError, DataError
from t2a.train.run import Run


def check_ready(run: Run) -> None:
    """Raise `StorageError`, `DataError` or `ConfigError` unless everything that `run` names is there and fits."""
    storage.check(run.out, write=True)
    _check_data(run)
    _check_networks(run)


def _check_data(run: Run) -> None:
    manifest = read_manifest(run.data.uri)
    if manifest.kind != run.data.kind:
        raise DataError(f"{run.data.uri} holds {manifest.kind}, the recipe asks for {run.data.kind}; change data.kind.")
    splits = {shard.split for shard in manifest.shards}
    for key, split in (("data.split", run.data.split), ("eval.split", run.eval.split if run.eval else run.data.split)):
        if split not in splits:
            have = ", ".join(sorted(splits)) or "none"
            raise DataError(f"{run.data.uri} has no split '{split}' (it has: {have}); change {key}.")


def _check_networks(run: Run) -> None:
    """Every network needs an `optim`, and every `optim` a network."""
    task = run.task.build()
    with torch.device("meta"):
        names = list(task.networks())
    problems = [
        f"optim.{name}: missing, the task trains a network of this name" for name in names if name not in run.optim
    ]
    for name in run.optim:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"one of: {', '.join(names)}"
            problems.append(f"optim.{name}: the task has no network of this name ({hint})")
    if problems:
        raise ConfigError(f"{run.name}: {len(problems)} wrong\n" + "\n".join(f"  {problem}" for problem in problems))
