"""Vocos: a ConvNeXt backbone at the frame rate, and the inverse STFT for all the rest (Siuzdak, 2023)."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.audio.spectral import INVERSE, MelSpec, MelSpectrogram, istft
from t2a.config import Config
from t2a.models.pretrained import Pretrained
from t2a.models.vocoder.spectrograms import check_shape
from t2a.nn.frames import mask_of, masked
from t2a.nn.uncast import Uncast

LOUDEST = 100.0  # largest magnitude, as published: an early step must not blow up


class VocosConfig(Config):
    """Shape of a `Vocos`; the defaults are the published one of 13.5 M parameters, at 16 kHz.

    `mel.center` decides how frames lie in the wave: centred on their first sample ("center" in the vocos package), or
    around their own `hop` samples ("same").
    """

    kind: Literal["vocos"] = "vocos"
    mel: MelSpec = MelSpec(log="ln")
    n_fft: int | None = Field(None, ge=2, multiple_of=2)
    """of the inverse STFT; by default that of the mel spectrogram"""
    width: int = Field(512, ge=1)
    hidden: int = Field(1536, ge=1)
    """width inside a block"""
    layers: int = Field(8, ge=1)
    kernel: int = Field(7, ge=1)
    """frames; odd"""
    prior: bool = False
    """add to magnitudes that fit the bands (`Magnitudes`), instead of making them from nothing"""

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.mel.rate

    @property
    def channels(self) -> int:
        """Audio channels."""
        return 1

    @property
    def transform(self) -> int:
        """Samples of a frame of the inverse STFT."""
        return self.n_fft or self.mel.n_fft

    @model_validator(mode="after")
    def _frames_overlap(self) -> "VocosConfig":
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is even, so it has no middle: take {self.kernel + 1}")
        if self.transform % 2 or self.transform < 2 * self.mel.hop:
            raise ValueError(
                f"frames of {self.transform} samples (n_fft, or mel.n_fft) must be even and overlap by half at a hop "
                f"of {self.mel.hop}: take {2 * self.mel.hop} or more"
            )
        if self.prior and self.transform != self.mel.n_fft:
            raise ValueError(f"prior gives the magnitudes of mel.n_fft {self.mel.n_fft}: leave n_fft {self.n_fft} out")
        return self

    def build(self) -> "Vocos":
        """Return a fresh model."""
        return Vocos(self)


class Vocos(Pretrained):
    """Mel spectrograms [B, M, L] -> waves [B, 1, L * hop]."""

    model_type: ClassVar[str] = "vocos"
    config_class = VocosConfig
    config: VocosConfig

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Conv1d(config.mel.n_mels, config.width, config.kernel, padding=config.kernel // 2)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, config.transform + 2)
        self.magnitudes = Magnitudes(config.mel) if config.prior else None
        self.inverse = InverseSTFT(config)
        self.apply(_start)

    @property
    def mel_spec(self) -> MelSpec:
        """The mel spectrogram that it takes."""
        return self.config.mel

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.config.mel.rate

    def forward(self, mel: Tensor, length: Tensor | None = None) -> Tensor:
        """Vocode mel spectrograms of which the first `length` int64 [B] frames are real; after them comes silence.

        What fills a spectrogram up changes nothing of the wave of its real frames. Raises `ValueError` for tensors of
        another shape.
        """
        check_shape(mel, self.config.mel)
        real, hop = mask_of(length, mel.shape[-1]), self.config.mel.hop
        x = self.embed(masked(mel.to(self.embed.weight.dtype), real))
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x, real)
        spectrum = self.head(self.final_norm(x.transpose(1, 2)))
        wave = self.inverse(spectrum, real, self.magnitudes(mel) if self.magnitudes else 0)[:, None]
        return masked(wave, None if real is None else real.repeat_interleave(hop, 1))

    def fold(self) -> "Vocos":
        """Return the model itself: there is nothing to fold for inference."""
        return self


class Block(nn.Module):
    """x + scale * project(gelu(expand(norm(depthwise(x))))) over [B, D, L] (Liu et al., ConvNeXt, 2022)."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        width, kernel = config.width, config.kernel
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, config.hidden)
        self.project = nn.Linear(config.hidden, width)
        self.scale = nn.Parameter(torch.full((width,), 1 / config.layers))

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        y = self.depthwise(masked(x, real)).transpose(1, 2)
        y = self.project(nn.functional.gelu(self.expand(self.norm(y))))
        return x + (self.scale * y).transpose(1, 2)


class Magnitudes(Uncast):
    """Mel bands [B, M, L] -> log magnitudes [B, F, L] that fit them: least squares (Lv et al., FreeV, 2024)."""

    inverse: Tensor

    def __init__(self, spec: MelSpec) -> None:
        super().__init__()
        self.spec, spectrogram = spec, MelSpectrogram(spec)
        gain = spectrogram.window.square().sum().sqrt() if spec.normalised else 1.0
        with torch.device("cpu"):
            inverse = torch.linalg.pinv(spectrogram.bank.double()).mT  # [F, M]
            self.register_buffer("inverse", (inverse * gain**spec.power).float(), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        with torch.autocast(mel.device.type, enabled=False):
            # Least squares may go below zero, where a band rises out of silence: how far, not which way, is kept.
            bins = (self.inverse @ INVERSE[self.spec.log](mel.float())).abs().clamp(min=self.spec.floor)
            return bins.log() / self.spec.power


class InverseSTFT(Uncast):
    """Log magnitudes and phases side by side [B, L, 2 F] -> wave [B, L * hop], in float32."""

    window: Tensor

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.hop, self.center = config.mel.hop, config.mel.center
        # A tone at full scale has a quarter of the transform, 256 at 1024 samples, which the published limit cuts.
        self.loudest = math.log(config.transform if config.prior else LOUDEST)
        with torch.device("cpu"):  # made from the config alone, also where a model is built without its weights
            self.register_buffer("window", torch.hann_window(config.transform), persistent=False)

    def forward(self, x: Tensor, real: Tensor | None = None, prior: Tensor | float = 0) -> Tensor:
        """`prior` log magnitudes [B, F, L] are added to those of `x`."""
        magnitude, phase = x.float().transpose(1, 2).chunk(2, 1)
        spectrum = torch.polar((magnitude + prior).clamp(max=self.loudest).exp(), phase)
        return istft(spectrum, self.hop, self.window, center=self.center, real=real)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear) and module.bias is not None:
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
