"""What the networks of a run begin with: random weights, those of an exported model, and adapters on top."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from t2a.errors import CheckpointError, ConfigError
from t2a.models.pretrained import WEIGHTS, Pretrained, check_fit, locate, read_config, read_tensors
from t2a.nn.lora import adapt
from t2a.tasks.task import Task
from t2a.train.checkpoint import newest_complete
from t2a.train.run import Run

log = logging.getLogger(__name__)


def networks(run: Run, task: Task, resumed: bool) -> dict[str, nn.Module]:
    """Make a run's networks, ready for their engines; the caller has seeded torch.

    `resumed`: a checkpoint will overwrite all weights, so that what `init` names may be gone by now.
    Raises `CheckpointError` or `ConfigError` where `init` or `lora` do not fit.
    """
    made = task.networks()
    if run.init and not resumed:
        model = _exported(made)
        folder = _folder(model, run.init)
        tensors = read_tensors(folder / WEIGHTS)
        check_fit(run.init, model.state_dict(), tensors, "task.model")
        model.load_state_dict(tensors)
    if run.lora:
        adapt(_exported(made), run.lora)
    return made


def check_start(run: Run, task: Task) -> None:
    """Raise what `networks` would, without memory for any weights; log which settings the models differ in."""
    if run.init is None or newest_complete(run.folder) is not None:
        return
    with torch.device("meta"):
        model = _exported(task.networks())
    folder = _folder(model, run.init)
    check_fit(run.init, model.state_dict(), _shapes(folder / WEIGHTS), "task.model")
    own, other = model.config.model_dump(mode="json"), read_config(folder)
    differing = [f"{key} {other.get(key)} there, {own[key]} here" for key in own if other.get(key) != own[key]]
    if differing:
        log.warning("init: the model of %s was made with other settings: %s", run.init, "; ".join(differing))
    if run.lora:
        adapt(model, run.lora)


def parameters(made: Mapping[str, nn.Module]) -> dict[str, float]:
    """Count the parameters of each network, and those of them that are trained, as metrics."""
    counts: dict[str, float] = {}
    for name, network in made.items():
        counts[f"parameters/{name}"] = sum(p.numel() for p in network.parameters())
        counts[f"parameters/{name}_trained"] = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return counts


def _exported(made: Mapping[str, nn.Module]) -> Pretrained:
    """The one network that a run exports; the others (critics) only help to train it."""
    return next(network for network in made.values() if isinstance(network, Pretrained))


def _folder(model: Pretrained, where: str) -> Path:
    folder = locate(where)
    found: Any = read_config(folder).get("model_type")
    if found != model.model_type:
        raise ConfigError(f"init: {where} holds a model of type {found!r}, the task trains a {model.model_type!r}.")
    return folder


def _shapes(path: Path) -> dict[str, Tensor]:
    """Tensors of the same shapes as those of a file, without their values."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"Cannot read {path}: {error}; it may be cut short: copy it again.") from error
