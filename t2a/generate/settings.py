"""How each kind of model generates: its own settings, beside what every generator is asked. No torch here."""

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field, ValidationError

from t2a.config import Config
from t2a.errors import ConfigError


class Settings(Config):
    """What one kind of generator can be told; a request gives them by name."""

    model_config = ConfigDict(allow_inf_nan=False)

    of: ClassVar[str]
    """the kind of model, as an error calls it"""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Take the settings of a request. Raises `ConfigError` with a sentence for each that means nothing here."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigError(" ".join(_sentence(cls, detail) for detail in error.errors(include_url=False))) from error


class LMSettings(Settings):
    """How tokens are drawn, and how far windows overlap in a clip longer than the model's own."""

    of: ClassVar[str] = "A language model"

    temperature: float = Field(1.0, ge=0, le=100, description="0 takes the likeliest code.")
    top_k: int = Field(250, ge=0, description="Draw from the k likeliest; 0 is off.")
    top_p: float = Field(0.0, ge=0, le=1, description="Draw from those that hold this probability; 0 is off.")
    overlap: float = Field(0.4, ge=0, lt=1, description="Share of a window with the one before it.")


class DiffusionSettings(Settings):
    """How noise becomes a latent; what a sampler is not asked to do otherwise is as it does by itself."""

    of: ClassVar[str] = "A diffusion model"

    sampler: str = Field("dpmpp_2m", description="One that solves the model's process.")
    steps: int = Field(25, ge=1, description="More of them are slower and closer.")
    rescale: float = Field(0.0, ge=0, le=1, description="Of the guidance: bring the spread back to the told one's.")
    eta: float | None = Field(None, ge=0, le=1, description="Fresh noise in each step of ddim; 1 is ddpm.")
    order: int | None = Field(None, ge=1, le=5, description="Of unipc.")

    def options(self) -> dict[str, Any]:
        """Return what is asked of the sampler alone."""
        return {name: value for name in ("eta", "order") if (value := getattr(self, name)) is not None}


def _sentence(settings: type[Settings], detail: Any) -> str:
    """Say what is wrong with one setting."""
    name = ".".join(str(part) for part in detail["loc"])
    known = list(settings.model_fields)
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]}?" if close else f"it knows {', '.join(known)}."
        return f"{settings.of} has no setting {name}: {meant}"
    what = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"{name} is {detail['input']}; it {what}." if name else f"{what}."
