"""All encoders of a model: which there are, and what they make of a batch or of a request."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from t2a.conditions.clap import ClapAudioConfig, ClapConfig, ClapTextConfig
from t2a.conditions.encoder import Encoder, Reads
from t2a.conditions.letters import BytesConfig
from t2a.conditions.melody import ChromaConfig
from t2a.conditions.text import MiniLMConfig, T5Config
from t2a.config import Config, dump, load, parse, validate
from t2a.errors import ConfigError
from t2a.nn.condition import Condition, StoredCondition

EncoderConfig = Annotated[
    MiniLMConfig | T5Config | BytesConfig | ClapConfig | ClapTextConfig | ClapAudioConfig | ChromaConfig,
    Field(discriminator="kind"),
]


class EncodersFile(Config):
    """`encoders.yaml` of a model folder: the encoders that the model was trained with, by the condition's name.

    An encoder may lie in the model folder itself: then its `name` is that of the folder in it.
    """

    encoders: dict[str, EncoderConfig]

    NAME: ClassVar[str] = "encoders.yaml"

    def write(self, folder: Path) -> None:
        """Put it into a model folder, with what the encoders need there, in `encoders/` by the condition's name."""
        kept = {name: config.exported(folder, f"encoders/{name}") for name, config in self.encoders.items()}
        (folder / self.NAME).write_text(dump(EncodersFile.model_validate({"encoders": kept})), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "EncodersFile":
        """Find it in a model folder. Raises `ConfigError`."""
        found = load(cls, folder / cls.NAME).encoders
        inside = {name: folder / named for name, e in found.items() if (named := getattr(e, "name", None))}
        moved = {name: found[name].model_copy(update={"name": str(p)}) for name, p in inside.items() if p.is_dir()}
        return cls(encoders=found | moved)


def parse_options(options: Sequence[str]) -> dict[str, EncoderConfig]:
    """Read encoders as a command line gives them, `NAME=KIND` or `NAME={kind: KIND, ...}`. Raises `ConfigError`."""
    given: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not (name and equals and text) or name in given:
            raise ConfigError(f"{option!r}: give encoders as NAME=KIND or NAME={{kind: KIND, ...}}, each name once.")
        value = parse(text, option)
        given[name] = {"kind": value} if isinstance(value, str) else value
    return validate(EncodersFile, {"encoders": given}, "encoders").encoders


class Encoders:
    """The encoders of a model by the condition's name, each loaded when it is first used.

    widths: of the states that the model takes. Raises `ConfigError` unless there is one encoder for each of them.
    """

    def __init__(
        self, configs: Mapping[str, EncoderConfig], widths: Mapping[str, int], device: torch.device | str = "cpu"
    ):
        self.configs, self.widths, self.device = dict(configs), dict(widths), torch.device(device)
        self._loaded: dict[str, Encoder] = {}
        self._fingerprints: dict[str, str] = {}
        self._warned: set[str] = set()
        if self.configs.keys() != self.widths.keys():
            raise ConfigError(
                f"There are encoders for {_listed(self.configs)}, but the model's conditions are "
                f"{_listed(self.widths)}: name the same under task.encoders and task.model.conditions."
            )

    @property
    def reads(self) -> set[Reads]:
        """What the encoders read of each row."""
        return {config.reads for config in self.configs.values()}

    def to(self, device: torch.device) -> "Encoders":
        """Compute and answer on another device from now on."""
        self.device = device
        return self

    def __call__(self, inputs: Mapping[Reads, Any], without: Collection[str] = ()) -> dict[str, Condition]:
        """Encode what there is: the conditions, but for those `without`, whose encoders' part is in `inputs`."""
        return {
            name: self.get(name)(inputs[config.reads])
            for name, config in self.configs.items()
            if config.reads in inputs and name not in without
        }

    def stored(self, states: Mapping[str, StoredCondition]) -> dict[str, Condition]:
        """Take from what was encoded before what these very encoders made; warn of what others did, once.

        Raises `ConfigError` when it is of another width than the model's.
        """
        found = {}
        for name in self.configs.keys() & states.keys():
            if states[name].fingerprint == self._fingerprint(name):
                condition = states[name].condition
                self._check(name, condition.tokens.shape[-1])
                found[name] = condition.to(self.device)
            elif name not in self._warned:
                self._warned.add(name)
                warnings.warn(f"the stored states of {name} are another encoder's: it is encoded anew", stacklevel=3)
        return found

    def get(self, name: str) -> Encoder:
        """Return the encoder of a condition. Raises `ConfigError` when its states are of another width."""
        if name not in self._loaded:
            encoder = self.configs[name].build(self.device)
            self._check(name, encoder.width)
            self._loaded[name] = encoder
        return self._loaded[name].to(self.device)

    def _fingerprint(self, name: str) -> str:
        if name not in self._fingerprints:
            self._fingerprints[name] = self.configs[name].fingerprint()
        return self._fingerprints[name]

    def _check(self, name: str, width: int) -> None:
        if width != self.widths[name]:
            raise ConfigError(
                f"task.model.conditions.{name}.width is {self.widths[name]}, but the encoder "
                f"{self.configs[name].kind} gives states of width {width}: set it to {width}."
            )


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "nothing"
