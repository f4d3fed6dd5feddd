"""A language model with all that generation needs, as it is written into one model folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from t2a.conditions.encoders import EncoderConfig, EncodersFile
from t2a.interop.folder import written
from t2a.models.codec import Codec
from t2a.models.lm import LM


class Language(NamedTuple):
    """A language model, the codec of its codes, and the encoders of its conditions by name."""

    model: LM
    codec: Codec
    encoders: Mapping[str, EncoderConfig]
    more: Callable[[Path], None] | None = None
    """writes what else belongs into the folder, such as a text encoder that comes with the model"""

    def write(self, folder: Path) -> None:
        """Fill a local folder."""
        self.model.save_pretrained(folder)
        self.codec.save_pretrained(folder / "codec")
        EncodersFile(encoders=dict(self.encoders)).write(folder)
        if self.more is not None:
            self.more(folder)


def convert(load: Callable[[], Language], out: str) -> str:
    """Write what `load` returns as the model folder `out`, local or on s3://, and say in a sentence what it is.

    The folder appears whole or not at all. Raises `ConfigError` when something lies there.
    """

    def fill(folder: Path) -> Language:
        found = load()
        found.write(folder)
        return found

    found = written(fill, out)
    config, codec = found.model.config, found.codec
    count = sum(parameter.numel() for parameter in found.model.parameters())
    told = ", ".join(f"{name} by {encoder.kind}" for name, encoder in found.encoders.items()) or "nothing"
    return (
        f"a language model of {count / 1e6:.1f} M parameters, {config.width} x {config.layers} x {config.heads}, "
        f"told {told}; {codec.sample_rate:,} Hz, {config.codebooks} codebooks of {config.bins} codes, "
        f"up to {config.max_frames / codec.frame_rate:g} s"
    )
