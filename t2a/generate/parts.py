"""Load what lies in the folder of a generator."""

from pathlib import Path
from typing import TypeVar

import torch

from t2a.conditions.encoders import Encoders, EncodersFile
from t2a.errors import CheckpointError
from t2a.models.denoiser import Denoiser
from t2a.models.lm import LM

Model = TypeVar("Model", LM, Denoiser)


def with_encoders(
    kind: type[Model], folder: Path, beside: str, device: torch.device | str = "cpu"
) -> tuple[Model, Encoders]:
    """Load a model and the encoders of its conditions; `beside` names the folder of what makes sound of its frames.

    Raises `CheckpointError` where a part is missing.
    """
    for part in (beside, EncodersFile.NAME):
        if not (folder / part).exists():
            raise CheckpointError(f"{folder} has no {part}: the model needs it there, export it again.")
    model = kind.from_pretrained(folder)
    widths = {name: condition.width for name, condition in model.config.conditions.items()}
    return model, Encoders(EncodersFile.read(folder).encoders, widths, device)
