"""HiFi-GAN: transposed convolutions up to the sample rate, with fused receptive fields (Kong et al., 2020)."""

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.audio.spectral import MelSpec
from t2a.config import Config
from t2a.models.pretrained import Pretrained
from t2a.models.vocoder.spectrograms import check_shape
from t2a.nn.conv import Conv1d, ConvTranspose1d, NormedWeight
from t2a.nn.frames import mask_of, masked

LAST_SLOPE = 0.01  # of the leaky ReLU before the last convolution, as released
START = 0.1  # what the last convolution begins with: the logarithms that come in are far from full scale


class HifiGanConfig(Config):
    """Shape of a `HifiGan`; the defaults are the published V1 of 13.9 M parameters.

    V2 has a `width` of 128. V3 has 256, rates (8, 8, 4), kernels (16, 16, 8), residual_kernels (3, 5, 7), dilations
    ((1, 2), (2, 6), (3, 12)) and blocks that are not paired.
    """

    kind: Literal["hifigan"] = "hifigan"
    mel: MelSpec = MelSpec(log="ln")
    width: int = Field(512, ge=1)
    """channels at the frame rate; every upsampling halves them"""
    rates: tuple[int, ...] = Field((8, 8, 2, 2), min_length=1)
    """upsampling of each stage; their product is `mel.hop`"""
    kernels: tuple[int, ...] = (16, 16, 4, 4)
    """of the transposed convolutions"""
    residual_kernels: tuple[int, ...] = Field((3, 7, 11), min_length=1)
    """of the residual blocks that a stage takes the mean of"""
    dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    """of each residual block"""
    paired: bool = True
    """follow each dilated convolution by a plain one ("ResBlock1")"""
    slope: float = Field(0.1, ge=0)
    """of the leaky ReLUs"""

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.mel.rate

    @property
    def channels(self) -> int:
        """Audio channels."""
        return 1

    @model_validator(mode="after")
    def _fits(self) -> "HifiGanConfig":
        if math.prod(self.rates) != self.mel.hop:
            raise ValueError(
                f"rates {list(self.rates)} multiply to {math.prod(self.rates)} samples a frame, but mel.hop is "
                f"{self.mel.hop}; make them equal"
            )
        if len(self.kernels) != len(self.rates) or any(k < r for k, r in zip(self.kernels, self.rates, strict=True)):
            raise ValueError(f"kernels {list(self.kernels)}: give one for each of the rates, none below its rate")
        if len(self.dilations) != len(self.residual_kernels):
            raise ValueError(f"dilations has {len(self.dilations)} entries: give one for each of residual_kernels")
        if any(kernel % 2 == 0 for kernel in self.residual_kernels):
            raise ValueError(f"residual_kernels {list(self.residual_kernels)} must be odd, so that they have a middle")
        if self.width % 2 ** len(self.rates):
            raise ValueError(f"width {self.width} cannot be halved {len(self.rates)} times")
        return self

    def build(self) -> "HifiGan":
        """Return a fresh model."""
        return HifiGan(self)


class HifiGan(Pretrained):
    """Mel spectrograms [B, M, L] -> waves [B, 1, L * hop] within [-1, 1]."""

    model_type: ClassVar[str] = "hifigan"
    config_class = HifiGanConfig
    config: HifiGanConfig
    mean: Tensor
    scale: Tensor

    def __init__(self, config: HifiGanConfig) -> None:
        super().__init__()
        self.config = config
        bands = config.mel.n_mels
        # Some released models take spectrograms by (mel - mean) / scale; training leaves both alone.
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("scale", torch.ones(bands))
        self.conv_pre = Conv1d(bands, config.width, 7)
        self.stages = nn.ModuleList(Stage(config, place) for place in range(len(config.rates)))
        self.conv_post = Conv1d(config.width >> len(config.rates), 1, 7)
        with torch.no_grad():
            self.conv_post.weight_g *= START

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
        frames, hop = mel.shape[-1], self.config.mel.hop
        mask = mask_of(length, frames)
        x = (mel.to(self.mean.dtype) - self.mean[:, None]) / self.scale[:, None]
        x, reach = masked(self.conv_pre(masked(x, mask)), mask), length
        for stage in self.stages:
            x, reach = stage(x, reach)
        wave = torch.tanh(self.conv_post(functional.leaky_relu(x, LAST_SLOPE)))[..., : frames * hop]
        return masked(wave.float(), None if mask is None else mask.repeat_interleave(hop, 1))

    def fold(self) -> Self:
        """Put weights in the place of their directions and lengths, for quicker inference; return the model itself.

        It still saves and loads under the same names, and cannot be trained any more.
        """
        for conv in self.modules():
            if isinstance(conv, NormedWeight):
                conv.fold()
        return self


class Stage(nn.Module):
    """Upsample [B, C, T] by a rate, then take the mean of residual blocks of several kernels."""

    def __init__(self, config: HifiGanConfig, place: int) -> None:
        super().__init__()
        rate, kernel, width = config.rates[place], config.kernels[place], config.width >> place
        self.slope = config.slope
        self.up = Upsampling(width, width // 2, kernel, stride=rate)
        self.blocks = nn.ModuleList(
            ResidualBlock(width // 2, size, dilations, config)
            for size, dilations in zip(config.residual_kernels, config.dilations, strict=True)
        )

    def forward(self, x: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return [B, C / 2, T'] and the number of its real samples."""
        x = self.up(functional.leaky_relu(x, self.slope))
        reach = None if length is None else length * self.up.stride + self.up.surplus % 2
        mask = mask_of(reach, x.shape[-1])
        x = masked(x, mask)
        fused = self.blocks[0](x, mask)
        for block in self.blocks[1:]:
            fused = fused + block(x, mask)
        return fused / len(self.blocks), reach


class Upsampling(ConvTranspose1d):
    """Convolve [B, C, T] transposed as the released models do: an odd surplus leaves one sample more than T * rate."""

    def forward(self, x: Tensor) -> Tensor:
        spread, cut = self.spread(x, self.bias), self.surplus // 2
        return spread[..., cut : spread.shape[-1] - cut]


class ResidualBlock(nn.Module):
    """Convolutions with growing dilations, each around a skip, [B, C, T] -> [B, C, T]."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...], config: HifiGanConfig) -> None:
        super().__init__()
        self.slope = config.slope
        self.dilated = nn.ModuleList(Conv1d(width, width, kernel, dilation=dilation) for dilation in dilations)
        self.plain = nn.ModuleList(Conv1d(width, width, kernel) for _ in dilations if config.paired)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for place, dilated in enumerate(self.dilated):
            y = dilated(functional.leaky_relu(x, self.slope))
            if self.plain:
                y = self.plain[place](functional.leaky_relu(masked(y, mask), self.slope))
            x = x + masked(y, mask)
        return x
