"""Find the generator for a trained model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a.conditions.encoders import Encoders
from t2a.data.schema import Kind
from t2a.errors import ConfigError
from t2a.generate.settings import Settings
from t2a.models.pretrained import locate, read_config
from t2a.nn.packed import Precision

Progress = Callable[[int, int], None]  # (steps done, steps in all)
Sound = tuple[NDArray[np.float32], int]  # a wave [C, T] and its rate in Hz

GENERATORS = {
    "lm": ("t2a.generate.lm", "LMGenerator"),
    "denoiser": ("t2a.generate.diffusion", "DiffusionGenerator"),
}  # by model_type: where its class is, imported when it is wanted


class Generator(Protocol):
    """A trained text-to-audio model with all it needs to be heard."""

    @property
    def settings(self) -> type[Settings]:
        """What it can be told beyond the arguments of `generate`, by name."""
        ...

    @property
    def kind(self) -> Kind:
        """Of the corpora that such a model is trained on."""
        ...

    @property
    def encoders(self) -> Encoders:
        """Of what it is told."""
        ...

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    @property
    def frame_rate(self) -> float:
        """Frames of codes or latents a second."""
        ...

    @property
    def max_seconds(self) -> float:
        """The longest clip it makes in one window."""
        ...

    def generate(
        self,
        prompts: Sequence[str],
        seconds: float,
        *,
        seeds: Sequence[int],
        guidance: float = 3.0,
        melody: Sound | None = None,
        beginning: Sound | None = None,
        progress: Progress | None = None,
        **settings: Any,
    ) -> list[NDArray[np.float32]]:
        """Make one clip [C, round(seconds * rate)] in [-1, 1] for each prompt; an empty prompt leaves it the choice.

        The same model, prompt, seed and settings give the same clip, whatever else is in the batch. A melody, a mix or
        any stem of it, is followed by all clips of a model that was trained with melodies. All clips begin with
        `beginning`, as the model hears it; `seconds` count it too.
        Raises `ConfigError` for what cannot be met, and for settings that are none of this kind of model.
        """
        ...

    def stream(
        self,
        prompt: str,
        seconds: float,
        *,
        seed: int,
        guidance: float = 3.0,
        melody: Sound | None = None,
        beginning: Sound | None = None,
        **settings: Any,
    ) -> Iterator[NDArray[np.float32]]:
        """Make the clip of `generate` in pieces [C, n], of which the first is there after a few frames.

        A clip that goes beyond full scale is turned down from there on, whereas `generate` turns all of it down.
        Refuses, when called, what `generate` refuses, and models that have to see the whole of a clip.
        """
        ...

    def sound(self, frames: Tensor) -> NDArray[np.float32]:
        """Decode a clip [..., L] of a corpus of its kind to a wave [C, T], as it decodes what it makes itself."""
        ...

    @classmethod
    def check_job(cls, folder: Path, seconds: float, settings: Mapping[str, Any]) -> None:
        """Refuse, without loading what a task exported, what its config tells cannot be made. Raises `ConfigError`."""
        ...

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device | str = "cpu", precision: Precision = "float32") -> Self:
        """Load what a task exported."""
        ...


def load(where: str | Path, device: torch.device | str = "cpu", precision: Precision = "float32") -> Generator:
    """Load a generator from a model folder or a run: local, `s3://` or `models:/name@alias`.

    Less `precision` of the weights makes it quicker. Raises `ConfigError` for what cannot generate.
    """
    folder = locate(where)
    return generator_of(folder, str(where)).from_folder(folder, device, precision)


def generator_of(folder: Path, where: str) -> type[Generator]:
    """Return the class of generator for a local model folder, `where` to the user. Raises `ConfigError`."""
    model_type = read_config(folder).get("model_type")
    if model_type not in GENERATORS:
        known = " or ".join(GENERATORS)
        raise ConfigError(f"{where} holds a {model_type}, which cannot generate from text: give a trained {known}.")
    module, name = GENERATORS[model_type]
    return getattr(import_module(module), name)
