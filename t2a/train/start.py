"""What the networks of a run begin with: random weights, those of an exported model, and adapters on top."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

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
        found = _start(_exported(made), run)
        tensors = found.of(read_tensors(found.folder / WEIGHTS))
        check_fit(run.init, found.module.state_dict(), tensors, found.name)
        found.module.load_state_dict(tensors)
    if run.lora:
        adapt(_exported(made), run.lora)
    return made


def check_start(run: Run, task: Task) -> None:
    """Raise what `networks` would, without memory for any weights; log which settings the models differ in."""
    if run.init is None or newest_complete(run.folder) is not None:
        return
    with torch.device("meta"):
        model = _exported(task.networks())
    found = _start(model, run)
    check_fit(run.init, found.module.state_dict(), found.of(_shapes(found.folder / WEIGHTS)), found.name)
    own, other = found.settings(model.config.model_dump(mode="json")), found.settings(read_config(found.folder))
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


class _Start(NamedTuple):
    """The module that begins with exported weights, the folder these lie in, and the part of both models it is."""

    module: nn.Module
    folder: Path
    part: str
    """"" = the whole model"""

    @property
    def name(self) -> str:
        return f"task.model.{self.part}" if self.part else "task.model"

    def of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Choose the part's tensors of a model's, under their names within it."""
        before = f"{self.part}." if self.part else ""
        return {name.removeprefix(before): tensor for name, tensor in tensors.items() if name.startswith(before)}

    def settings(self, config: dict[str, Any]) -> dict[str, Any]:
        """Choose the part's settings of a model's."""
        return config.get(self.part, {}) if self.part else config


def _start(model: Pretrained, run: Run) -> _Start:
    assert run.init is not None
    folder = locate(run.init)
    found: Any = read_config(folder).get("model_type")
    wanted = {model.model_type: "", **model.parts}
    if found not in wanted:
        raise ConfigError(
            f"init: {run.init} holds a model of type {found!r}, the task trains a {model.model_type!r}"
            + (f", which begins with one of: {', '.join(wanted)}." if model.parts else ".")
        )
    part = wanted[found]
    if run.lora and part:
        raise ConfigError(f"init: {run.init} is but the {part} of a {model.model_type}, and lora adapts a whole model.")
    return _Start(model.get_submodule(part), folder, part)


def _shapes(path: Path) -> dict[str, Tensor]:
    """Tensors of the same shapes as those of a file, without their values."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"Cannot read {path}: {error}; it may be cut short: copy it again.") from error
