"""CLAP: sounds and captions as vectors of one space, of which the cosine says how well they belong together."""

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from t2a.audio.transform import resample
from t2a.conditions import weights
from t2a.conditions.encoder import Reads, Sounds
from t2a.conditions.text import TextConfig
from t2a.config import Config
from t2a.nn.condition import Condition, padded

HUB = "laion/clap-htsat-unfused"


class ClapConfig(TextConfig):
    """The text tower of a ClapModel of transformers: one state a caption, the vector that is compared with sounds."""

    kind: Literal["clap"]
    name: str = HUB  # a local folder or a name on the Hugging Face hub
    max_tokens: int = Field(77, gt=2)

    network: ClassVar[str] = "ClapModel"

    @property
    def source(self) -> str:
        """The folder or the name."""
        return self.name

    def width(self, network: Any) -> int:
        """Return D of the vectors."""
        return int(network.config.projection_dim)

    def states(self, network: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute vectors of unit length [B, 1, D], all real."""
        vectors = network.get_text_features(**inputs).pooler_output[:, None]
        return vectors, torch.ones(vectors.shape[:2], dtype=torch.bool)


class ClapAudioConfig(Config):
    """The audio tower of a ClapModel: one state a sound."""

    kind: Literal["clap_audio"]
    name: str = HUB

    reads: ClassVar[Reads] = "sounds"
    rate: ClassVar[None] = None

    def build(self, device: torch.device | str = "cpu") -> "ClapAudioEncoder":
        """Load the encoder. Raises `ConfigError`."""
        return ClapAudioEncoder(self, device)

    def fingerprint(self) -> str:
        """Digest the kind and the weights, wherever these lie."""
        return hashlib.sha256(f"{self.kind} {weights.digest(self.name)}".encode()).hexdigest()


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
