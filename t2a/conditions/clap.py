"""CLAP: sounds and captions as vectors of one space, of which the cosine says how well they belong together."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from t2a.audio.transform import resample
from t2a.conditions import weights
from t2a.conditions.encoder import Encoder, Reads, Sounds
from t2a.conditions.text import TextConfig
from t2a.config import Config
from t2a.models.pretrained import CONFIG, locate, read_config
from t2a.nn.condition import Condition, padded

HUB = "laion/clap-htsat-unfused"


class ClapConfig(TextConfig):
    """The text tower of a CLAP: the vector that is compared with sounds, or the states of all tokens.

    name: one that t2a has trained (a folder, a run, s3://, models:/name@alias), or a ClapModel of transformers, of
    whose captions `max_tokens` are read (a local folder or a name on the Hugging Face hub).
    """

    kind: Literal["clap"]
    name: str = HUB
    max_tokens: int = Field(77, gt=2)
    form: Literal["vector", "tokens"] = "vector"

    network: ClassVar[str] = "ClapModel"

    @property
    def source(self) -> str:
        """The folder or the name."""
        return self.name

    def build(self, device: torch.device | str = "cpu") -> Encoder:
        """Load the encoder. Raises `ConfigError`, or `CheckpointError` for a run without a checkpoint."""
        if folder := trained(self.name):
            from t2a.conditions.trained_clap import TrainedClap, TrainedText

            return TrainedText(TrainedClap(folder, device), self.form)
        return super().build(device)

    def exported(self, folder: Path, name: str) -> Self:
        """Take a CLAP that t2a has trained along."""
        return self.model_copy(update={"name": taken_along(self.name, folder, name)})

    def fingerprint(self) -> str:
        """Digest the form, and the weights wherever they lie."""
        known = digest_of_trained(folder) if (folder := trained(self.name)) else super().fingerprint()
        return known if self.form == "vector" else _digest(self.form, known)

    def width(self, network: Any) -> int:
        """Return D of a ClapModel's vectors or states."""
        return int(network.config.projection_dim if self.form == "vector" else network.config.text_config.hidden_size)

    def states(self, network: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute vectors of unit length [B, 1, D], all real, or the states of the tokens below them [B, S, D]."""
        if self.form == "tokens":
            return network.text_model(**inputs).last_hidden_state, inputs["attention_mask"].bool()
        vectors = network.get_text_features(**inputs).pooler_output[:, None]
        return vectors, torch.ones(vectors.shape[:2], dtype=torch.bool)


class ClapTextConfig(TextConfig):
    """The text tower of a CLAP by itself, a ClapTextModelWithProjection of transformers, as an AudioLDM brings it."""

    kind: Literal["clap_text"]
    name: str  # a local folder or a name on the Hugging Face hub
    max_tokens: int = Field(512, gt=2)

    network: ClassVar[str] = "ClapTextModelWithProjection"

    @property
    def source(self) -> str:
        """The folder or the name."""
        return self.name

    def width(self, network: Any) -> int:
        """Return D of the vectors."""
        return int(network.config.projection_dim)

    def states(self, network: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute vectors of unit length [B, 1, D], all real."""
        vectors = normalize(network(**inputs).text_embeds, dim=-1)[:, None]
        return vectors, torch.ones(vectors.shape[:2], dtype=torch.bool)


class ClapAudioConfig(Config):
    """The audio tower of a CLAP: one state a sound. name: as for `ClapConfig`.

    A model that is to be told by captions can be trained on the vectors of sounds, which need none, since both lie in
    one space (AudioLDM): with `told_by: captions` the trained model gets the text tower in the place of this one.
    """

    kind: Literal["clap_audio"]
    name: str = HUB
    told_by: Literal["sounds", "captions"] = "sounds"

    reads: ClassVar[Reads] = "sounds"
    rate: ClassVar[None] = None

    def build(self, device: torch.device | str = "cpu") -> Encoder:
        """Load the encoder. Raises `ConfigError`, or `CheckpointError` for a run without a checkpoint."""
        if folder := trained(self.name):
            from t2a.conditions.trained_clap import TrainedAudio, TrainedClap

            return TrainedAudio(TrainedClap(folder, device))
        return ClapAudioEncoder(self, device)

    def exported(self, folder: Path, name: str) -> "ClapConfig | ClapAudioConfig":
        """Take a CLAP that t2a has trained along; with it goes the tower that the model is told by."""
        place = taken_along(self.name, folder, name)
        if self.told_by == "captions":
            return ClapConfig(kind="clap", name=place)
        return self.model_copy(update={"name": place})

    def fingerprint(self) -> str:
        """Digest the kind and the weights, wherever these lie."""
        folder = trained(self.name)
        return _digest(self.kind, digest_of_trained(folder) if folder else weights.digest(self.name))


def trained(name: str) -> Path | None:
    """Find the local folder of a CLAP that t2a has trained; None for one of transformers. Raises `CheckpointError`."""
    folder = Path(name)
    if not name.startswith("models:/") and "://" not in name:
        theirs = (folder / CONFIG).is_file() and "t2a_version" not in read_config(folder)
        if theirs or not folder.is_dir():
            return None
    return locate(name)


def taken_along(name: str, folder: Path, place: str) -> str:
    """Copy a CLAP that t2a has trained to `folder / place`, and return how it is called there, others as they are."""
    source = trained(name)
    if source is None:
        return name
    shutil.copytree(source, folder / place, dirs_exist_ok=True)
    return place


def digest_of_trained(folder: Path) -> str:
    """Digest the weights of a CLAP that t2a has trained, and its text encoder."""
    from t2a.conditions.encoders import EncodersFile

    return _digest(weights.digest(str(folder)), EncodersFile.read(folder).encoders["text"].fingerprint())


def _digest(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


class ClapAudioEncoder:
    """Turns sounds into vectors of unit length, without gradients, in float32.

    Of a sound longer than the model hears at once (10 s) the middle is taken.
    """

    def __init__(self, config: ClapAudioConfig, device: torch.device | str = "cpu"):
        self.config, self.device = config, torch.device(device)
        self._extractor, self._network = weights.load(config.name, "AutoFeatureExtractor", "ClapModel")
        self._network.to(self.device)

    @property
    def width(self) -> int:
        """D of the vectors."""
        return int(self._network.config.projection_dim)

    def to(self, device: torch.device) -> "ClapAudioEncoder":
        """Compute and answer on another device from now on."""
        if device != self.device:
            self.device = device
            self._network.to(device)
        return self

    def __call__(self, inputs: Sounds) -> Condition:
        """Encode B sounds as tokens [B, 1, D] and mask [B, 1]."""
        states = [self._vector(wave, inputs.rate) for wave in inputs.mono()]
        return padded(states, self.width).to(self.device)

    @torch.no_grad()
    def _vector(self, wave: NDArray[np.float32], rate: int) -> Tensor:
        """Encode one sound [T] as [1, D]; one of no samples as [0, D]."""
        if not len(wave):
            return torch.zeros(0, self.width)
        wave = resample(wave[None], rate, self._extractor.sampling_rate)[0]
        longest = self._extractor.nb_max_samples
        begin = max(len(wave) - longest, 0) // 2  # the extractor would take a random part
        features = self._extractor(
            wave[begin : begin + longest], sampling_rate=self._extractor.sampling_rate, return_tensors="pt"
        )
        mel = features["input_features"].to(self.device, torch.float32)
        with torch.autocast(self.device.type, enabled=False):
            short = torch.zeros(1, 1, dtype=torch.bool, device=self.device)
            return self._network.get_audio_features(mel, is_longer=short).pooler_output.cpu()


class Clap:
    """Both towers of one ClapModel: how well a sound fits a caption."""

    def __init__(self, name: str, device: torch.device | str = "cpu"):
        self._text = ClapConfig(kind="clap", name=name).build(device)
        self._audio = ClapAudioConfig(kind="clap_audio", name=name).build(device)

    def sounds(self, sounds: Sounds) -> Tensor:
        """Encode sounds as vectors of unit length [B, D]."""
        return self._audio(sounds).tokens[:, 0]

    def scores(self, captions: Sequence[str], sounds: Sounds) -> Tensor:
        """Compute the cosine of each sound and its caption, [B] in [-1, 1]; 0 where either is empty."""
        return (self._text(captions).tokens[:, 0] * self.sounds(sounds)).sum(-1)
