"""Critics that hear the wave itself: HiFi-GAN's multi-period and multi-scale discriminators (Kong et al., 2020)."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.nn.conv import NormedWeight

SLOPE = 0.1


class PeriodsConfig(Config):
    """Shape of the multi-period discriminator; the defaults are HiFi-GAN's."""

    periods: tuple[Annotated[int, Field(ge=1)], ...] = Field((2, 3, 5, 7, 11), min_length=1)
    """samples; a clip is folded into rows of that many"""
    widths: tuple[int, ...] = Field((32, 128, 512, 1024, 1024), min_length=1)
    """channels of the layers; all but the last have stride 3 in time"""


class ScalesConfig(Config):
    """Shape of the multi-scale discriminator; the defaults are HiFi-GAN's."""

    scales: int = Field(3, ge=1)
    """the wave, and the wave averaged down by 2, 4, ..."""
    width: int = Field(128, ge=16, multiple_of=16)
    """channels of the first layer; the widest has eight times as many"""


class FoldedConv(NormedWeight):
    """Convolve [B, C, rows, period] along the rows."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__((out_channels, in_channels, kernel, 1), out_channels, in_channels * kernel, "weight")
        self.stride, self.padding = stride, kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel(), self.bias, (self.stride, 1), (self.padding, 0))


class GroupedConv(NormedWeight):
    """Convolve [B, C, T] in groups of channels."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        share = in_channels // groups
        super().__init__((out_channels, share, kernel), out_channels, share * kernel, "weight")
        self.stride, self.groups, self.padding = stride, groups, kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv1d(x, self.kernel(), self.bias, self.stride, self.padding, groups=self.groups)


class PeriodDiscriminator(nn.Module):
    """Judge every `period`-th sample of a wave [B, C, T] beside its neighbours of that distance."""

    def __init__(self, period: int, config: PeriodsConfig, channels: int) -> None:
        super().__init__()
        self.period = self.shortest = period
        inputs, last = (channels, *config.widths[:-1]), len(config.widths) - 1
        self.convs = nn.ModuleList(
            FoldedConv(a, b, 5, stride=1 if i == last else 3)
            for i, (a, b) in enumerate(zip(inputs, config.widths, strict=True))
        )
        self.conv_post = FoldedConv(config.widths[-1], 1, 3)

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits [B, 1, rows, period] and the features of each layer."""
        missing = -wave.shape[-1] % self.period
        wave = functional.pad(wave, (0, missing), "reflect").to(self.conv_post.bias.dtype)
        return _judged(self.convs, self.conv_post, wave.unflatten(-1, (-1, self.period)))


class ScaleDiscriminator(nn.Module):
    """Judge a wave [B, C, T] averaged down `halvings` times.

    All weights are normalised by their length; the paper's first scale, by the largest singular value instead.
    """

    def __init__(self, halvings: int, config: ScalesConfig, channels: int) -> None:
        super().__init__()
        self.halvings, self.shortest = halvings, 4 << halvings
        w = config.width
        self.convs = nn.ModuleList(
            [
                GroupedConv(channels, w, 15),
                GroupedConv(w, w, 41, stride=2, groups=4),
                GroupedConv(w, 2 * w, 41, stride=2, groups=16),
                GroupedConv(2 * w, 4 * w, 41, stride=4, groups=16),
                GroupedConv(4 * w, 8 * w, 41, stride=4, groups=16),
                GroupedConv(8 * w, 8 * w, 41, groups=16),
                GroupedConv(8 * w, 8 * w, 5),
            ]
        )
        self.conv_post = GroupedConv(8 * w, 1, 3)

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits [B, 1, frames] and the features of each layer."""
        wave = wave.to(self.conv_post.bias.dtype)
        for _ in range(self.halvings):
            wave = functional.avg_pool1d(wave, 4, 2, 2)
        return _judged(self.convs, self.conv_post, wave)


def _judged(convs: nn.ModuleList, last: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    features = []
    for conv in convs:
        x = functional.leaky_relu(conv(x), SLOPE)
        features.append(x)
    return last(x), features
