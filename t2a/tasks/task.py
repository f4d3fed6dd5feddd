"""What the training loop asks of a task, and how a task treats a network that is not in its turn."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from t2a.errors import ConfigError

Network = Callable[..., Any]
"""A module, or an engine around it (its `module`), called like the module"""


class Task(Protocol):
    """A trainable: its networks, what to descend at a step, how to evaluate.

    It knows nothing of devices, ranks, schedules, logging or checkpoints.
    """

    def networks(self) -> dict[str, nn.Module]:
        """Return fresh modules by name; the caller has seeded torch."""
        ...

    def losses(
        self, nets: Mapping[str, Network], batch: dict[str, Any], step: int
    ) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
        """Yield (network to step, scalar loss as a mean over the rows, detached scalars to log), turn by turn.

        The loop goes backward and steps that network between two yields.
        """
        ...

    def evaluate(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return values for each row [B] float32; networks are in evaluation mode."""
        ...

    def samples(self, nets: Mapping[str, Network], batch: dict[str, Any]) -> dict[str, tuple[Tensor, int]]:
        """Return a few waves [C, T] with their rates in Hz to listen to; may be empty."""
        ...

    def export(self, weights: dict[str, dict[str, Tensor]], folder: Path) -> None:
        """Write the usable model into `folder`, from full state dicts by network name."""
        ...


def check_codec(codec: Mapping[str, Any], where: str, model: Any, *, decodes: bool = True) -> None:
    """Refuse a codec (its `config.json`, found at `where`) whose codes a model's config has no room for.

    What one says that the codec `decodes` may be of the first codebooks alone, as a mono codec decodes these as well.
    One that normalises is refused too, unless nothing `decodes` what the model says: it would not say how loud.
    """
    if codec.get("model_type") != "codec":
        raise ConfigError(f"task.codec: {where} holds a {codec.get('model_type')}, not a codec.")
    if decodes and codec.get("normalise"):
        raise ConfigError(
            f"task.codec: {where} normalises the loudness, and the scale that gives it back is no code that a model "
            "could foresee; take a codec with `normalise: false`."
        )
    channels = getattr(model, "channels", 1)  # that the codec codes one by one
    many = f" for {channels} channels" if channels > 1 else ""
    wanted = codec["quantizer"] | {"codebooks": channels * codec["quantizer"]["codebooks"]}
    for name in ("codebooks", "bins"):
        own, found = getattr(model, name), wanted[name]
        fewer = decodes and channels == 1 and name == "codebooks" and own < found
        if own != found and not fewer:
            raise ConfigError(
                f"task.model.{name} is {own}, but the codec {where} has {found} {name}{many}: "
                f"set task.model.{name}={found} or take another codec."
            )


def enclose(model: Path, inside: Path) -> None:
    """Copy a frozen model's local folder into that of a model that needs it."""
    inside.mkdir(exist_ok=True)
    for file in model.iterdir():
        if file.is_file():
            shutil.copy2(file, inside / file.name)


def raw(net: Network) -> nn.Module:
    """Return the module behind an engine; a plain module is its own."""
    module = getattr(net, "module", net)
    assert isinstance(module, nn.Module)
    return module


def partitioned(net: Network) -> bool:
    """Tell whether each process holds only a part of the parameters (ZeRO 3) and only the engine can gather them."""
    return any(hasattr(p, "ds_id") for p in raw(net).parameters())


@contextmanager
def frozen(net: Network) -> Iterator[nn.Module]:
    """Take a network's parameters out of the graph, so that another network's loss can pass through it.

    A live one would collect gradients that are not its own: an error under ZeRO 0, 2 and 3, wrong weights under 1.
    Yields the module itself. Its engine would count the pass as the beginning of a turn of its own, and under ZeRO 3
    add the gradients of the turn before to the next; partitioned parameters are gathered by the module's own hooks.
    """
    module = raw(net)
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield module
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
