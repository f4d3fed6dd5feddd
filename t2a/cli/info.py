"""What `t2a info` prints of a model or a corpus."""

from typing import Any

from rich.table import Table

from t2a import storage
from t2a.errors import CheckpointError


def describe(where: str) -> Table:
    """A table of what lies at `where`: a corpus (it has a manifest) or a model."""
    if not where.startswith("models:/") and storage.exists(storage.join(where, "_manifest.json")):
        return describe_corpus(where)
    return describe_model(where)


def describe_corpus(uri: str) -> Table:
    from t2a.data.shards import read_manifest

    manifest = read_manifest(uri)
    table = Table("split", "shards", "clips", "hours", "MB", title=f"{uri}: a corpus of {manifest.kind}")
    for split in dict.fromkeys(shard.split for shard in manifest.shards):
        shards = [shard for shard in manifest.shards if shard.split == split]
        hours = sum(s.seconds for s in shards) / 3600
        size = sum(s.bytes for s in shards) / 1e6
        table.add_row(split, str(len(shards)), str(sum(s.rows for s in shards)), f"{hours:.2f}", f"{size:.1f}")
    told = [f"skipped {count} {reason}" for reason, count in manifest.skipped.items()]
    told += [f"with states of {name} by {made.encoder.get('kind')}" for name, made in manifest.states.items()]
    table.caption = ", ".join(told) or None
    return table


def describe_model(where: str) -> Table:
    from safetensors import SafetensorError, safe_open

    from t2a.models.pretrained import WEIGHTS, locate, read_config

    folder = locate(where)
    config = read_config(folder)
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as tensors:
            parameters = sum(elements(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"Cannot read {folder / WEIGHTS}: {error}; it may be cut short: copy it again."
        ) from error
    table = Table("setting", "value", title=f"{where}: {config.get('model_type', 'unknown')}")
    table.add_row("parameters and buffers", f"{parameters:,}")
    for key, value in flatten(config).items():
        table.add_row(key, str(value))
    return table


def elements(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}"""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        nested = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat
