"""Find the generator for a trained model."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.errors import ConfigError
from t2a.models.pretrained import locate, read_config
from t2a.nn.packed import Precision

Progress = Callable[[int, int], None]  # (steps done, steps in all)
Sound = tuple[NDArray[np.float32], int]  # a wave [C, T] and its rate in Hz


class Generator(Protocol):
    """A trained text-to-audio model with all it needs to be heard."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def max_seconds(self) -> float:
        """The longest clip it makes in one window."""

    def generate(
        self,
        prompts: Sequence[str],
        seconds: float,
        *,
        seeds: Sequence[int],
        guidance: float = 3.0,
        temperature: float = 1.0,
        top_k: int = 250,
        top_p: float = 0.0,
        melody: Sound | None = None,
        beginning: Sound | None = None,
        overlap: float = 0.4,
        progress: Progress | None = None,
    ) -> list[NDArray[np.float32]]:
        """Make one clip [C, round(seconds * rate)] in [-1, 1] for each prompt; an empty prompt leaves it the choice.

        The same model, prompt, seed and settings give the same clip, whatever else is in the batch. A melody, a mix or
        any stem of it, is followed by all clips of a model that was trained with melodies. All clips begin with
        `beginning`, as the model's codec hears it; `seconds` count it too. A clip beyond `max_seconds` is made in
        windows, which have the share `overlap` in common with the one before them.
        Raises `ConfigError` for arguments that cannot be met.
        """

    def stream(
        self,
        prompt: str,
        seconds: float,
        *,
        seed: int,
        guidance: float = 3.0,
        temperature: float = 1.0,
        top_k: int = 250,
        top_p: float = 0.0,
        melody: Sound | None = None,
        beginning: Sound | None = None,
        overlap: float = 0.4,
    ) -> Iterator[NDArray[np.float32]]:
        """Make the clip of `generate` in pieces [C, n], of which the first is there after a few frames.

        A clip that goes beyond full scale is turned down from there on, whereas `generate` turns all of it down.
        Refuses what `generate` refuses, when called, and codecs that have to see the whole of a clip.
        """


def load(where: str | Path, device: torch.device | str = "cpu", precision: Precision = "float32") -> Generator:
    """Load a generator from a model folder or a run: local, `s3://` or `models:/name@alias`.

    Less `precision` of the weights makes it quicker. Raises `ConfigError` for what cannot generate.
    """
    folder = locate(where)
    model_type = read_config(folder).get("model_type")
    if model_type == "lm":
        from t2a.generate.lm import LMGenerator

        return LMGenerator.from_folder(folder, device, precision)
    raise ConfigError(f"{where} holds a {model_type}, which cannot generate from text: give a trained lm.")
