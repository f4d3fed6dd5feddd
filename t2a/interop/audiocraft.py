"""Import AudioCraft's codec: `compression_state_dict.bin`, a training checkpoint, or a state of the encodec package."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from t2a.errors import CheckpointError, ConfigError
from t2a.interop import pickles
from t2a.interop.encodec import assemble, layout, own_names, refuse
from t2a.interop.pickles import Inert
from t2a.models.codec import Codec

FILES = ("compression_state_dict.bin", "state_dict.bin")
NEEDED = ("sample_rate", "causal", "pad_mode")
NORMS = {"weight_norm": "weight", "time_group_norm": "time_group", "layer_norm": "layer", "none": "none"}

# What shapes do not tell of the codecs that were released: (channels, filters, ratios, shortcut) -> settings
RELEASED: Mapping[tuple[int, int, tuple[int, ...], str], dict[str, Any]] = {
    (1, 32, (8, 5, 4, 2), "conv"): {"sample_rate": 24000, "causal": True, "pad_mode": "reflect", "dropout": True},
    (2, 32, (8, 5, 4, 2), "conv"): {
        "sample_rate": 48000,
        "causal": False,
        "pad_mode": "reflect",
        "dropout": True,
        "normalise": True,
        "segment_seconds": 1.0,
    },
    (1, 64, (8, 5, 4, 2), "identity"): {"sample_rate": 16000, "causal": False, "pad_mode": "constant"},
    (1, 64, (8, 5, 4, 4), "identity"): {"sample_rate": 32000, "causal": False, "pad_mode": "constant"},
}


def load(
    source: str | Path,
    *,
    sample_rate: int | None = None,
    causal: bool | None = None,
    pad_mode: Literal["constant", "reflect", "replicate"] | None = None,
) -> Codec:
    """Return the codec of a file, or of a folder with one, in eval mode.

    What the shapes of the tensors do not tell comes from the arguments, from the configuration in the file, or is known
    of the codecs that were released. Raises `CheckpointError` for a file that holds no codec, `ConfigError` where
    something is still open.
    """
    path = find(Path(source))
    package = pickles.read(path)
    own = own_names(pickles.tensors(state(package, str(path)), str(path)), str(path))
    given = {"sample_rate": sample_rate, "causal": causal, "pad_mode": pad_mode}
    return assemble(settings(layout(own, str(path)), package, given, str(path)), own, str(path))


def settings(
    shapes: Mapping[str, Any], package: Mapping[str, Any], given: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Return all that a `CodecConfig` needs: what shapes tell, what is known, what the package states, what is given.

    The later goes before the earlier. Raises `ConfigError` naming what is still open.
    """
    known = RELEASED.get((shapes["channels"], shapes["filters"], tuple(shapes["ratios"]), shapes["shortcut"]), {})
    found = known | stated(package, where) | {name: value for name, value in given.items() if value is not None}
    if lacking := [name for name in NEEDED if name not in found]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in lacking)
        raise ConfigError(f"{where} does not tell everything about its codec; give {options}.")
    quantizer = shapes["quantizer"] | {"dropout": found.pop("dropout", False)}
    return {**shapes, **found, "quantizer": quantizer}


def find(source: Path) -> Path:
    """Return the file of the codec."""
    if source.is_file():
        return source
    for name in FILES:
        if (source / name).is_file():
            return source / name
    raise ConfigError(f"{source} is no file, nor a folder with a {FILES[0]}: give AudioCraft's checkpoint of a codec.")


def state(package: Any, where: str) -> Any:
    """Return the tensors of an exported codec, of a training checkpoint, or of a bare state."""
    if not isinstance(package, Mapping):
        raise CheckpointError(f"{where} holds a {type(package).__name__}, not a checkpoint of AudioCraft.")
    if "pretrained" in package:
        raise CheckpointError(
            f"{where} only points to the codec {package['pretrained']}: import that, "
            f"as by `t2a import huggingface {package['pretrained']} OUT`."
        )
    best = package.get("best_state", package)
    best = best.get("model", best) if isinstance(best, Mapping) else best
    if isinstance(best, Mapping) and any(str(name).startswith(("emb.", "transformer.")) for name in best):
        raise CheckpointError(f"{where} holds a language model: give {FILES[0]}, its codec.")
    return best


def stated(package: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings that the configuration in a package states, if it has one.

    Raises `CheckpointError` for those that a codec of ours cannot have.
    """
    config = configuration(package.get("xp.cfg"), where)
    norm = str(lookup(config, "seanet.norm", "weight_norm"))
    deep = lookup(config, "seanet.n_residual_layers", 1) != 1
    refuse(
        where,
        {
            "seanet.activation": (lookup(config, "seanet.activation", "ELU"), "ELU"),
            "seanet.norm": (norm, norm if norm in NORMS else " or ".join(NORMS)),
            "seanet.dilation_base": (lookup(config, "seanet.dilation_base", 2) if deep else 2, 2),
            "seanet.decoder.trim_right_ratio": (lookup(config, "seanet.decoder.trim_right_ratio", 1), 1),
            "seanet.decoder.final_activation": (lookup(config, "seanet.decoder.final_activation", None), None),
        },
    )
    found = {
        "sample_rate": lookup(config, "sample_rate", None),
        "causal": lookup(config, "encodec.causal", None),
        "normalise": lookup(config, "encodec.renormalize", None),
        "pad_mode": lookup(config, "seanet.pad_mode", None),
        "norm": NORMS[norm] if lookup(config, "seanet.norm", None) else None,
        "dropout": lookup(config, "rvq.q_dropout", None),
    }
    return {name: value for name, value in found.items() if value is not None}


def configuration(found: Any, where: str) -> dict[str, Any]:
    """Return the plain values of a configuration: of the YAML of an export, or of what OmegaConf pickled."""
    try:
        values = yaml.safe_load(found) if isinstance(found, str) else plain(found)
    except (yaml.YAMLError, RecursionError) as error:
        raise CheckpointError(f"{where}: its configuration xp.cfg cannot be read; save it again.") from error
    return values if isinstance(values, dict) else {}


def plain(node: Any) -> Any:
    """Return the value of a node of OmegaConf: of a DictConfig or a ListConfig its content, of another its value."""
    if isinstance(node, Inert):
        node = node.state
        if isinstance(node, Mapping):
            node = node.get("_content", node.get("_val"))
    if isinstance(node, Mapping):
        return {name: plain(value) for name, value in node.items()}
    return [plain(value) for value in node] if isinstance(node, list) else node


def lookup(config: Mapping[str, Any], path: str, default: Any) -> Any:
    """Return a value by its dotted path; `${a.b}` in its place refers to another one, which must not refer further."""
    value = _at(config, path, default)
    reference = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    return _at(config, reference[1], default) if reference else value


def _at(config: Mapping[str, Any], path: str, default: Any) -> Any:
    value: Any = config
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return default
        value = value[name]
    return value
