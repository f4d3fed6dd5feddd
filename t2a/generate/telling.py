"""What a model is told of a request: its encoders' states of the prompts and of a melody."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from t2a.audio.io import check
from t2a.conditions.encoder import Reads, Sounds
from t2a.conditions.encoders import Encoders
from t2a.errors import ConfigError
from t2a.nn.condition import Condition

if TYPE_CHECKING:
    from t2a.generate.loading import Sound


def told(
    encoders: Encoders, prompts: Sequence[str], melody: "Sound | None", guidance: float, device: torch.device
) -> dict[str, Condition] | None:
    """Encode what a model is told of each prompt, if there is anything to tell; all rows get the same melody."""
    if guidance == 0 or (melody is None and not any(prompt.strip() for prompt in prompts)):
        return None
    parts: dict[Reads, Any] = {"captions": prompts}
    if melody is not None:
        parts["sounds"] = _repeated(melody, len(prompts))
    return {name: condition.to(device) for name, condition in encoders(parts).items()}


def check_melody(encoders: Encoders, melody: "Sound | None") -> None:
    """Refuse a melody for a model that was trained without."""
    if melody is not None and "sounds" not in encoders.reads:
        raise ConfigError("This model was trained without melodies: leave the melody out or take another model.")


def _repeated(sound: "Sound", rows: int) -> Sounds:
    """Give every row the same sound."""
    wave, rate = sound
    check(wave, "The melody")
    waves = torch.from_numpy(wave).expand(rows, -1, -1)
    return Sounds(waves, torch.full((rows,), wave.shape[1]), rate)
