"""The neural codec: SEANet encoder and decoder around a residual quantizer (Défossez et al., EnCodec, 2022)."""

import math
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from t2a.config import Config
from t2a.errors import ConfigError
from t2a.models.pretrained import Pretrained
from t2a.models.waves import check, check_shape
from t2a.nn import channels_last
from t2a.nn.conv import Conv1d, ConvTranspose1d, Norm, NormedWeight, PadMode
from t2a.nn.quantize import QuantizerConfig, ResidualQuantizer


class CodecConfig(Config):
    """Shape of a codec; the defaults are AudioGen's released 16 kHz codec."""

    sample_rate: int = Field(16000, gt=0)
    """Hz"""
    channels: int = Field(1, ge=1)
    filters: int = Field(64, ge=1)
    """channels after the first convolution; every downsampling doubles them"""
    ratios: tuple[int, ...] = Field((8, 5, 4, 2), min_length=1)
    """upsampling of the decoder, in its order; the encoder's strides are the same, reversed"""
    dimension: int = Field(128, ge=1)
    """of the latents"""
    kernel: int = Field(7, ge=1)
    residual_kernel: int = Field(3, ge=1)
    residual_units: int = Field(1, ge=1)
    """residual units a stage, with dilations 1, 2, 4, ..."""
    shortcut: Literal["identity", "conv"] = "identity"
    lstm_layers: int = Field(2, ge=0)
    causal: bool = False
    norm: Norm = "weight"
    pad_mode: PadMode = "constant"
    quantizer: QuantizerConfig = QuantizerConfig(codebooks=4, bins=2048)
    normalise: bool = False
    """bring a clip to a loudness of 1 before it is encoded; what it had goes beside the codes as their `scale`"""
    segment_seconds: float | None = Field(None, gt=0)
    """a longer clip is coded in segments of this length (`t2a.models.segments`); by default in one piece"""
    overlap: float = Field(0.01, ge=0, lt=1)
    """of a segment with the next one, as a share of its length"""


class Encoded(NamedTuple):
    """What a clip, or a segment of one, is decoded from."""

    codes: Tensor
    """[B, K, L] int64"""
    scale: Tensor | None = None
    """[B] loudness, of a codec that normalises; [B, N] of N segments"""


class CodecOutput(NamedTuple):
    """A batch on its way through the codec."""

    audio: Tensor
    """[B, C, T], as long as the input"""
    codes: Tensor
    """[B, K, L] int64"""
    commitment: Tensor
    """scalar; pulls latents to their codes"""


class Codec(Pretrained):
    """Waves [B, C, T] <-> codes [B, K, L], L = ceil(T / hop)."""

    model_type: ClassVar[str] = "codec"
    config_class = CodecConfig
    config: CodecConfig

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder(config)
        self.quantizer = ResidualQuantizer(config.dimension, config.quantizer)
        self.decoder = decoder(config)

    @property
    def sample_rate(self) -> int:
        """Samples a second of one channel."""
        return self.config.sample_rate

    @property
    def channels(self) -> int:
        """Audio channels."""
        return self.config.channels

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return math.prod(self.config.ratios)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop

    @property
    def codebooks(self) -> int:
        """Codes a frame."""
        return self.config.quantizer.codebooks

    @property
    def bins(self) -> int:
        """Codes in a codebook."""
        return self.config.quantizer.bins

    @property
    def bit_rate(self) -> float:
        """Bits a second of all codebooks, before entropy coding."""
        return self.frame_rate * self.codebooks * math.log2(self.bins)

    def forward(self, wave: Tensor, codebooks: int | None = None) -> CodecOutput:
        """Encode, quantize and decode a wave as one segment; learns the codebooks while training."""
        check_shape(wave, self.channels)
        wave, scale = self._normalised(wave)
        quantized = self.quantizer(self.encoder(wave), codebooks)
        audio = self.decoder(quantized.latents)[..., : wave.shape[-1]]
        return CodecOutput(rescaled(audio.float(), scale), quantized.codes, quantized.commitment)

    def encode(self, wave: Tensor, codebooks: int | None = None) -> Tensor:
        """Return codes [B, K, L] int64 of a wave [B, C, T], or of its first `codebooks` codebooks.

        Raises `ConfigError` for a codec that normalises, whose codes do not tell the loudness.
        """
        if self.config.normalise:
            raise ConfigError(
                "This codec normalises the loudness, which its codes alone do not hold; "
                "use one with `normalise: false`, or encode_scaled() in place of encode()."
            )
        return self.encode_scaled(wave, codebooks).codes

    def encode_scaled(self, wave: Tensor, codebooks: int | None = None) -> Encoded:
        """Return codes of a wave [B, C, T] taken as one segment, with its scale where the codec normalises.

        Raises `ValueError` for another number of channels, an empty wave and samples that are not finite.
        """
        check(wave, self.channels)
        wave, scale = self._normalised(wave)
        return Encoded(self.quantizer.encode(self.encoder(wave), codebooks), scale)

    def decode(self, codes: Tensor, length: int | None = None, scale: Tensor | None = None) -> Tensor:
        """Return the wave [B, C, T] of codes [B, k, L] with k <= K; T is `length`, by default L * hop.

        A codec that normalises needs the `scale` [B] of the codes, any other has none.
        """
        if (scale is not None) != self.config.normalise:
            raise ValueError("codes come with a scale if, and only if, the codec normalises: see Codec.encode_scaled")
        latents = self.quantizer.decode(codes)
        wave = self.decoder(latents.to(next(self.decoder.parameters()).dtype))[..., :length]
        return rescaled(wave.float(), scale)

    def fold(self) -> Self:
        """Put weights in the place of their directions and lengths, for quicker inference; return the codec itself.

        It still saves and loads under the same names, and cannot be trained any more.
        """
        for module in (self.encoder, self.decoder):
            for conv in module.modules():
                if isinstance(conv, NormedWeight):
                    conv.fold()
        return self

    def _normalised(self, wave: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.config.normalise:
            return wave, None
        scale = loudness(wave)
        return (wave / scale[:, None, None]).to(wave.dtype), scale


def loudness(wave: Tensor) -> Tensor:
    """Return the root mean square [B] of a wave [B, C, T] mixed to one channel, never 0 (EnCodec, section 3.1)."""
    with torch.autocast(wave.device.type, enabled=False):
        return wave.float().mean(1).square().mean(-1).sqrt() + 1e-8


def rescaled(wave: Tensor, scale: Tensor | None) -> Tensor:
    """Give a wave [B, C, T] back the loudness [B] that was taken from it, if one was."""
    return wave if scale is None else wave * scale[:, None, None]


class ResidualUnit(nn.Module):
    """x + conv(elu(conv(elu(x)))), [B, C, T] -> [B, C, T], half as wide in between."""

    def __init__(self, width: int, dilation: int, config: CodecConfig) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ELU(),
            Conv1d(width, width // 2, config.residual_kernel, dilation=dilation, **_common(config)),
            ELU(),
            Conv1d(width // 2, width, 1, **_common(config)),
        )
        conv = config.shortcut == "conv"
        self.shortcut = Conv1d(width, width, 1, **_common(config)) if conv else nn.Identity()
        self.whole = config.norm == "time_group"

    def forward(self, x: Tensor) -> Tensor:
        elu, conv, between, last = self.block
        if not channels_last.suits(x) or self.whole or torch.compiler.is_compiling():
            return last.add_to(self.shortcut(x), between(conv(elu(x))))
        y = torch.empty_like(x)
        left, right = conv.margins(x.shape[2])
        for start, stop in channels_last.tiles(x):
            low, high = max(0, start - left), min(x.shape[2], stop + right)
            hidden = conv.convolve(channels_last.elu(x[..., low:high]), left - (start - low), right - (high - stop))
            part = y[..., start:stop].copy_(self.shortcut(x[..., start:stop]))
            last.add_to(part, channels_last.elu(hidden))
        return y


class ELU(nn.ELU):
    """An ELU whose input nobody else needs: without gradients it is overwritten."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return functional.elu(x)
        return channels_last.elu_(x) if channels_last.suits(x) else functional.elu(x, inplace=True)


class SkipLSTM(nn.Module):
    """x + lstm(x) over the frames of [B, D, L]."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # oneDNN's backward pass of a bfloat16 LSTM takes three times as long as that in float32.
            with torch.autocast("cpu", enabled=False):
                return x + self.lstm(frames.float())[0].to(x.dtype).transpose(1, 2)
        return x + self.lstm(frames)[0].transpose(1, 2)


def encoder(config: CodecConfig) -> nn.Sequential:
    """Build the layers [B, C, T] -> [B, D, L]."""
    width = config.filters
    layers: list[nn.Module] = [Conv1d(config.channels, width, config.kernel, **_common(config))]
    for ratio in reversed(config.ratios):
        layers += _residual_units(width, config)
        layers += [ELU(), Conv1d(width, 2 * width, 2 * ratio, stride=ratio, **_common(config))]
        width *= 2
    layers += [SkipLSTM(width, config.lstm_layers)] if config.lstm_layers else []
    layers += [ELU(), Conv1d(width, config.dimension, config.kernel, **_common(config))]
    return nn.Sequential(*layers)


def decoder(config: CodecConfig) -> nn.Sequential:
    """Build the layers [B, D, L] -> [B, C, L * hop]."""
    width = config.filters * 2 ** len(config.ratios)
    layers: list[nn.Module] = [Conv1d(config.dimension, width, config.kernel, **_common(config))]
    layers += [SkipLSTM(width, config.lstm_layers)] if config.lstm_layers else []
    for ratio in config.ratios:
        up = ConvTranspose1d(width, width // 2, 2 * ratio, stride=ratio, causal=config.causal, norm=config.norm)
        width //= 2
        layers += [ELU(), up, *_residual_units(width, config)]
    # Normalised over its channels, a sample of one or two channels would say nothing.
    last = {"norm": "none"} if config.norm == "layer" else {}
    layers += [ELU(), Conv1d(width, config.channels, config.kernel, **_common(config) | last)]
    return nn.Sequential(*layers)


def _residual_units(width: int, config: CodecConfig) -> list[nn.Module]:
    return [ResidualUnit(width, 2**i, config) for i in range(config.residual_units)]


def _common(config: CodecConfig) -> dict:
    return {"causal": config.causal, "pad_mode": config.pad_mode, "norm": config.norm}
