"""Which vocoders there are, and how a folder is found to hold one."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from t2a.errors import CheckpointError
from t2a.models.pretrained import locate, read_config
from t2a.models.vocoder.hifigan import HifiGan, HifiGanConfig
from t2a.models.vocoder.vocos import Vocos, VocosConfig

Vocoder = Vocos | HifiGan
VocoderConfig = Annotated[VocosConfig | HifiGanConfig, Field(discriminator="kind")]
VOCODERS: dict[str, type[Vocos] | type[HifiGan]] = {"vocos": Vocos, "hifigan": HifiGan}


def load_vocoder(where: str | Path) -> Vocoder:
    """Load a vocoder of any kind in eval mode on the CPU; see `locate` for what `where` may be.

    Raises `CheckpointError` when there is none.
    """
    folder = locate(where)
    found = read_config(folder).get("model_type")
    if found not in VOCODERS:
        raise CheckpointError(f"{where} holds a {found}, not a vocoder: give one of {', '.join(VOCODERS)}.")
    return VOCODERS[found].from_pretrained(folder)
