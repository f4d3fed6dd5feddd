"""Model folders: `config.json` and `model.safetensors`, the whole hand-over between stages."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from t2a import __version__, storage
from t2a.config import Config, validate
from t2a.errors import CheckpointError, ConfigError

CONFIG, WEIGHTS, MODEL, COMPLETE = "config.json", "model.safetensors", "model", "trainer.json"
AnyConfig = TypeVar("AnyConfig", bound=Config)
NAMED = 3  # tensors named in an error, of each sort


class Pretrained(nn.Module):
    """A module that is built from one config, kept in `self.config`, and lives in a folder.

    parts: other model types that training may begin with, by the part of this name that both have.
    """

    model_type: ClassVar[str]
    parts: ClassVar[Mapping[str, str]] = {}
    config_class: ClassVar[type[Config]]
    config: Config

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config and weights (float32) into a local folder; files appear whole or not at all.

        Raises `CheckpointError`, as on a full disk.
        """
        folder = Path(folder)
        config = {"model_type": self.model_type, "t2a_version": __version__, **self.config.model_dump(mode="json")}
        tensors = {name: _portable(tensor) for name, tensor in self.state_dict().items()}
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
                part = Path(made) / MODEL
                part.mkdir()
                safetensors.torch.save_file(tensors, part / WEIGHTS, metadata={"format": "pt"})
                (part / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
                if folder.exists():  # what else lies there stays
                    for name in (WEIGHTS, CONFIG):
                        (part / name).replace(folder / name)
                else:
                    part.rename(folder)
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"Cannot save the model to {folder}: {error}.") from error

    @classmethod
    def from_pretrained(cls, where: str | Path) -> Self:
        """Load a model in eval mode on the CPU; see `locate` for what `where` may be. Raises `CheckpointError`."""
        folder = locate(where)
        built = config_of(folder, cls.model_type, cls.config_class, where)
        with torch.random.fork_rng(devices=[]):  # the start weights are overwritten: draw nothing for them
            model = cls(built)
        tensors = read_tensors(folder / WEIGHTS)
        check_fit(where, model.state_dict(), tensors)
        model.load_state_dict(tensors)
        return model.eval()


def locate(where: str | Path) -> Path:
    """Find a model and return its local folder, downloaded if need be.

    `where` is a model folder, a step folder of a run, or a run folder (its newest complete step), as a local path,
    `file://`, `s3://` or `models:/name@alias`. Downloads are kept in `T2A_CACHE` (default `~/.cache/t2a`) under their
    content's fingerprint. Raises `CheckpointError`.
    """
    if str(where).startswith("models:/"):
        from t2a import registry

        return locate(registry.resolve(str(where)))
    uri = _model_uri(str(where))
    if uri.startswith("s3://"):
        return _cached(uri)
    return Path(uri.removeprefix("file://")).expanduser()


def read_config(folder: str | Path) -> dict[str, Any]:
    """Read a local model folder's `config.json`. Raises `CheckpointError`."""
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Cannot read {path}: {error}.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a {type(config).__name__}, not the settings of a model.")
    return config


def config_of(folder: Path, model_type: str, config_class: type[AnyConfig], where: str | Path = "") -> AnyConfig:
    """Read what a local model folder, `where` to the user, says of its model. Raises `CheckpointError`."""
    config, where = read_config(folder), where or folder
    found = config.pop("model_type", None)
    if found != model_type:
        raise CheckpointError(f"{where} holds a model of type {found!r}, not {model_type!r}.")
    config.pop("t2a_version", None)
    try:
        return validate(config_class, config, f"{folder / CONFIG}")
    except ConfigError as error:
        raise CheckpointError(f"{where} does not fit this version of t2a. {error}") from error


def weights_sha256(folder: str | Path) -> str:
    """Tell the weights of local model folders apart."""
    with (Path(folder) / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises `CheckpointError`."""
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"Cannot read {path}: {error}; it may be cut short: copy it again.") from error


def _model_uri(uri: str) -> str:
    """The model folder in a model, step or run folder."""
    inside, below = _inside(uri)
    if {CONFIG, WEIGHTS} <= inside:
        return uri
    if COMPLETE in inside and MODEL in below:
        return _model_uri(storage.join(uri, MODEL))
    steps = sorted((int(step[1]), name) for name in below if (step := re.fullmatch(r"step_(\d+)", name)))
    for _, name in reversed(steps):
        step = storage.join(uri, name)
        if storage.exists(storage.join(step, COMPLETE)):
            return _model_uri(storage.join(step, MODEL))
    if steps:
        raise CheckpointError(f"{uri} holds no complete checkpoint yet ({', '.join(name for _, name in steps)}).")
    pickles = sorted(name for name in inside if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
    if pickles:
        raise CheckpointError(
            f"{uri} holds {pickles[0]}, a pickle, which could run code: give a folder with {WEIGHTS}."
        )
    found = ", ".join([*(f"{name}/" for name in sorted(below)), *sorted(inside)][:6]) or "nothing"
    missing = f"{CONFIG} and {WEIGHTS}" if not {CONFIG, WEIGHTS} & inside else ({CONFIG, WEIGHTS} - inside).pop()
    raise CheckpointError(f"{uri} is no model, checkpoint or run: no {missing} there; found: {found}.")


def _inside(uri: str) -> tuple[set[str], set[str]]:
    """Names of the files and of the folders directly in a folder."""
    if not storage.exists(uri):
        raise CheckpointError(f"{uri}: no such folder; give a model folder, a run, s3:// or models:/NAME@ALIAS.")
    below = set(storage.folders(uri))
    return {name for name in storage.files(uri) if "/" not in name}, below


def _cached(uri: str) -> Path:
    """Download a folder unless the same content was downloaded before."""
    cache = Path(os.environ.get("T2A_CACHE") or "~/.cache/t2a").expanduser() / "models"
    kept = cache / storage.fingerprint(uri)
    if kept.is_dir():
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".", dir=cache))
    try:
        storage.download(uri, part)
        if not kept.is_dir():
            try:
                part.rename(kept)
            except OSError:  # another process was quicker
                if not kept.is_dir():
                    raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return kept


def _portable(tensor: Tensor) -> Tensor:
    """A copy on the CPU of its own memory (tied weights share theirs), float32 where it is a float."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", dtype, copy=True).contiguous()


def check_fit(
    where: str | Path, own: Mapping[str, Tensor], given: Mapping[str, Tensor], config: str = "its config"
) -> None:
    """Refuse tensors that do not fit the model of a `config` exactly."""
    shapes = [
        f"{name} {list(given[name].shape)} instead of {list(own[name].shape)}"
        for name in own.keys() & given.keys()
        if own[name].shape != given[name].shape
    ]
    problems = {
        "missing": own.keys() - given.keys(),
        "unexpected": given.keys() - own.keys(),
        "of another shape": shapes,
    }
    told = [
        f"{len(names)} {sort} ({', '.join(sorted(names)[:NAMED])}{', ...' if len(names) > NAMED else ''})"
        for sort, names in problems.items()
        if names
    ]
    if told:
        raise CheckpointError(f"The tensors of {where} do not fit {config}: {'; '.join(told)}.")
