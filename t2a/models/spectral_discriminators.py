"""Critics that see the spectrum of a wave: EnCodec's multi-scale STFT discriminator and Vocos' multi-resolution one."""

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from t2a.audio.spectral import stft
from t2a.config import Config
from t2a.nn.conv import Norm, NormedWeight

SLOPE, PEAK = 0.1, 0.8


class ResolutionsConfig(Config):
    """Shape of the multi-resolution discriminator; the defaults are those of Vocos (and of DAC before it)."""

    ffts: tuple[Annotated[int, Field(ge=4)], ...] = Field((2048, 1024, 512), min_length=1)
    """window lengths in samples, hop a quarter"""
    filters: int = Field(32, ge=1)
    edges: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75)
    """where the spectrum is cut into bands, as shares of half the sample rate; each band has layers of its own"""

    @model_validator(mode="after")
    def _bands_have_bins(self) -> "ResolutionsConfig":
        for n_fft in self.ffts:
            if any(stop <= start for start, stop in self.bands(n_fft)):
                raise ValueError(f"edges {list(self.edges)} must ascend between 0 and 1 and leave bins of {n_fft}")
        return self

    def bands(self, n_fft: int) -> list[tuple[int, int]]:
        """Return the first bin of each band, and the one after its last."""
        bins = n_fft // 2 + 1
        return list(pairwise(int(edge * bins) for edge in (0.0, *self.edges, 1.0)))


class Conv2d(NormedWeight):
    """Convolve [B, C, frames, frequencies], padded to keep the size but for the stride."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        norm: Norm = "weight",
    ) -> None:
        super().__init__((out_channels, in_channels, *kernel), out_channels, in_channels * kernel[0] * kernel[1], norm)
        self.stride, self.dilation = stride, dilation
        self.padding = ((kernel[0] - 1) * dilation[0] // 2, (kernel[1] - 1) * dilation[1] // 2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel(), self.bias, self.stride, self.padding, self.dilation)


class STFTDiscriminator(nn.Module):
    """Judge the complex STFT of a wave [B, C, T], real and imaginary parts as channels."""

    def __init__(self, n_fft: int, width: int, dilations: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.n_fft = self.shortest = n_fft
        # As in the released discriminator, the first layer alone is not weight-normalised.
        layers = [Conv2d(2 * channels, width, (3, 9), norm="none")]
        layers += [Conv2d(width, width, (3, 9), stride=(1, 2), dilation=(d, 1)) for d in dilations]
        layers += [Conv2d(width, width, (3, 3))]
        self.convs = nn.ModuleList(layers)
        self.conv_post = Conv2d(width, 1, (3, 3))

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.spectrum(wave)
        features = []
        for conv in self.convs:
            x = functional.leaky_relu(conv(x), 0.2)
            features.append(x)
        return self.conv_post(x), features

    def spectrum(self, wave: Tensor) -> Tensor:
        """Return [B, 2 C, frames, n_fft / 2 + 1], scaled by the window's norm, without padding."""
        batch, channels, _ = wave.shape
        with torch.autocast(wave.device.type, enabled=False):
            window = torch.hann_window(self.n_fft, device=wave.device)
            window, flat = window / window.square().sum().sqrt(), wave.float().flatten(0, 1)
            z = torch.stft(flat, self.n_fft, self.n_fft // 4, window=window, center=False, return_complex=True)
        z = z.unflatten(0, (batch, channels)).transpose(-1, -2)
        # Channels side by side in memory, which the backward passes of few channels want most.
        return torch.cat([z.real, z.imag], 1).to(self.conv_post.bias.dtype, memory_format=torch.channels_last)


class BandDiscriminator(nn.Module):
    """Judge the complex STFT of a wave [B, C, T] band by band, at one resolution and whatever its loudness."""

    def __init__(self, n_fft: int, config: ResolutionsConfig, channels: int) -> None:
        super().__init__()
        self.n_fft, self.shortest, self.bands = n_fft, n_fft // 2 + 1, config.bands(n_fft)
        width = config.filters
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                [
                    Conv2d(2 * channels, width, (3, 9)),
                    *(Conv2d(width, width, (3, 9), stride=(1, 2)) for _ in range(3)),
                    Conv2d(width, width, (3, 3)),
                ]
            )
            for _ in self.bands
        )
        self.conv_post = Conv2d(width, 1, (3, 3))

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits [B, 1, frames, frequencies] and the features of each layer of each band."""
        spectrum, features, ends = self.spectrum(wave), [], []
        for (start, stop), convs in zip(self.bands, self.stacks, strict=True):
            x = spectrum[..., start:stop]
            for conv in convs:
                x = functional.leaky_relu(conv(x), SLOPE)
                features.append(x)
            ends.append(x)
        return self.conv_post(torch.cat(ends, -1)), features

    def spectrum(self, wave: Tensor) -> Tensor:
        """Return [B, 2 C, frames, n_fft / 2 + 1] of a wave without its mean and of the same peak for each channel."""
        wave = wave.float()
        wave = wave - wave.mean(-1, keepdim=True)
        wave = PEAK * wave / (wave.abs().amax(-1, keepdim=True) + 1e-9)
        window = torch.hann_window(self.n_fft, device=wave.device)
        z = stft(wave, self.n_fft, self.n_fft // 4, window).transpose(-1, -2)
        return torch.cat([z.real, z.imag], 1).to(self.conv_post.bias.dtype, memory_format=torch.channels_last)
