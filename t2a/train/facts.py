"""What a checkpoint tells about the run that wrote it, and what must be the same to go on from it or to be done."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from t2a import __version__
from t2a.train.protocol import Engine
from t2a.train.run import Run

BESIDE: Any = {
    **dict.fromkeys(("name", "out", "steps", "workers", "cpus", "gpu", "max_failures"), True),
    **dict.fromkeys(("checkpoint", "eval", "track", "log_every", "log_rows"), True),
    "data": {"threads", "max_skipped"},
    "engine": {"kind", "zero", "accumulate"},
}
"""Settings that say where and how long a run trains, and what is told of it, not what"""


def facts(run: Run, engines: dict[str, Engine], workers: int) -> dict[str, Any]:
    """Return plain JSON values about a run, its networks and the software."""
    return {
        "version": 1,
        "name": run.name,
        "workers": workers,
        "seed": run.seed,
        "batch_size": run.batch_size,
        "engine": {"kind": run.engine.kind, "zero": run.engine.zero, "bf16": run.engine.precision == "bf16"},
        "networks": {name: _network(run, name, engine) for name, engine in engines.items()},
        "versions": {"t2a": __version__, "python": platform.python_version(), **_versions()},
    }


def differing(then: Run, now: Run) -> list[str]:
    """Name the settings that decide what comes of training in which two recipes differ, with both values."""
    before, after = (dict(_leaves(run.model_dump(mode="json", exclude=BESIDE))) for run in (then, now))
    return [
        f"{key} was {before.get(key, 'not there')} and is {after.get(key, 'not there')}"
        for key in {**before, **after}
        if (key in before, before.get(key)) != (key in after, after.get(key))
    ]


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping, with the path to it as an override has it."""
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _network(run: Run, name: str, engine: Engine) -> str:
    """A readable fingerprint of the parameters and of the groups that the optimizer has made of them."""
    shapes = {key: list(getattr(p, "ds_shape", p.shape)) for key, p in engine.module.named_parameters()}
    trained = [key for key, p in engine.module.named_parameters() if p.requires_grad]
    count = sum(getattr(p, "ds_numel", p.numel()) for p in engine.module.parameters())
    told = [shapes, trained, run.optim[name].decay_all, *([run.lora.alpha] if run.lora else [])]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return f"{count} parameters in {len(shapes)} tensors, {digest[:12]}"


def _versions() -> dict[str, str]:
    versions = {}
    for package in ("torch", "deepspeed", "ray"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
