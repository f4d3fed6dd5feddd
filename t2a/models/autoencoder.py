"""The spectrogram autoencoder: log-mel spectrograms <-> latents for diffusion (Make-An-Audio, Huang et al., 2023)."""

import math
from typing import Annotated, ClassVar, NamedTuple, overload

import torch
from pydantic import Field, model_validator
from torch import Tensor

from t2a.audio.spectral import MelSpec, MelSpectrogram, mirrored
from t2a.config import Config
from t2a.models.kl1d import Kl1dConfig
from t2a.models.kl2d import Kl2dConfig
from t2a.models.pretrained import Pretrained
from t2a.nn import ranks
from t2a.nn.frames import held, mask_of, spread
from t2a.nn.uncast import Uncast

LOGVAR = (-30.0, 20.0)  # beyond which a posterior is cut off, as in latent diffusion


class AutoencoderConfig(Config):
    """A spectrogram and the network that compresses it; the defaults are made for a CPU."""

    mel: MelSpec = MelSpec(n_fft=1024, hop=256, n_mels=80, log="ln", floor=1e-5)
    network: Annotated[Kl1dConfig | Kl2dConfig, Field(discriminator="kind")] = Kl1dConfig()
    scaled: bool = True
    """let the network see -1 for silence (mel.floor) and 1 for a magnitude of 1, not logarithms as they are"""

    @model_validator(mode="after")
    def _makes_latents(self) -> "AutoencoderConfig":
        if self.mel.log == "none":
            raise ValueError("mel.log is none: an autoencoder takes logarithms, set it to ln or log10")
        if self.mel.floor >= 1:
            raise ValueError(f"mel.floor {self.mel.floor} must be below 1, the magnitude of full scale")
        self.network.latent_shape(self.mel.n_mels)
        return self

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.mel.rate

    @property
    def channels(self) -> int:
        """Audio channels."""
        return 1

    @property
    def frame_rate(self) -> float:
        """Latent frames a second."""
        return self.mel.rate / self.mel.hop / self.network.factor


class AutoencoderOutput(NamedTuple):
    """A batch on its way through the autoencoder."""

    mel: Tensor
    """[B, M, L], as long as the input; silence after the end of a row"""
    mean: Tensor
    """[B, C, (F',) L'] of the posterior"""
    logvar: Tensor
    """of the same shape"""
    last: Tensor
    """what the last layer saw, [B, D, (M,) L'']"""


class Spectrogram(Uncast, MelSpectrogram):
    """A mel spectrogram whose window and filters stay in float32 when the model around it is cast."""


class LatentScale(Uncast):
    """Running mean and standard deviation of every channel of the latents, which `encode` takes out of them.

    They are those of the values of all processes; the weight of earlier batches falls by `decay` a batch, so that they
    follow a network that still learns.
    """

    mean: Tensor
    std: Tensor
    count: Tensor

    def __init__(self, channels: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("count", torch.zeros(1))

    @torch.no_grad()
    def update(self, latents: Tensor, mask: Tensor | None) -> None:
        """Learn from latents [B, C, (F',) L'] and which of their frames are real, bool [B, L'] (collective)."""
        x = latents.detach().double()
        real = torch.ones_like(x[:, :1]) if mask is None else spread(mask, x).expand_as(x[:, :1]).double()
        others = [axis for axis in range(x.ndim) if axis != 1]
        sums = [real.sum().expand(x.shape[1]), (x * real).sum(others), (x.square() * real).sum(others)]
        count, total, squares = ranks.total(torch.stack(sums))
        before = self.decay * self.count.double()
        every = before + count
        mean = (before * self.mean.double() + total) / every
        square = (before * (self.std.double().square() + self.mean.double().square()) + squares) / every
        self.mean.copy_(mean)
        self.std.copy_((square - mean.square()).clamp_min(1e-12).sqrt())
        self.count.copy_(every[:1])


class Autoencoder(Pretrained):
    """Log-mel spectrograms [B, M, L] <-> latents [B, C, L'] (1-D) or [B, C, F', L'] (2-D), L' = ceil(L / factor).

    `length` int64 [B] is the number of real frames of each row, of the tensor that it is given with; None says that all
    are real. Whatever lies beyond them never changes what comes out for the real ones. What a row lacks to a multiple
    of `factor` repeats its last frame. Decoded spectrograms are silent (log `mel.floor`) beyond their length.
    """

    model_type: ClassVar[str] = "autoencoder"
    config_class = AutoencoderConfig
    config: AutoencoderConfig

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.spectrogram = Spectrogram(config.mel)
        self.network = config.network.build(config.mel.n_mels)
        self.latents = LatentScale(self.latent_shape[0])
        floor = math.log(config.mel.floor) if config.mel.log == "ln" else math.log10(config.mel.floor)
        self.silence = floor
        self.centre, self.scale = (floor / 2, -floor / 2) if config.scaled else (0.0, 1.0)

    @property
    def sample_rate(self) -> int:
        """Hz of the waves."""
        return self.config.mel.rate

    @property
    def factor(self) -> int:
        """Mel frames per latent frame."""
        return self.config.network.factor

    @property
    def frame_rate(self) -> float:
        """Latent frames a second."""
        return self.config.frame_rate

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of the latents of one frame: (C,) or (C, F')."""
        return self.config.network.latent_shape(self.config.mel.n_mels)

    @property
    def latent_mean(self) -> Tensor:
        """Mean of each channel of the latents [C], measured while training."""
        return self.latents.mean

    @property
    def latent_std(self) -> Tensor:
        """Standard deviation of each channel of the latents [C], measured while training."""
        return self.latents.std

    @overload
    def latent_length(self, frames: int) -> int: ...

    @overload
    def latent_length(self, frames: Tensor) -> Tensor: ...

    def latent_length(self, frames: int | Tensor) -> int | Tensor:
        """Return how many latent frames stand for that many mel frames."""
        return -(-frames // self.factor)

    def mel(self, wave: Tensor, length: Tensor | None = None) -> Tensor:
        """Return the log-mel spectrogram [B, M, L] of waves [B, 1, T], of which `length` int64 [B] samples are real.

        The real frames, `config.mel.frames(length)` of them, are those of each clip by itself; after them is silence.
        Raises `ValueError` for more than one channel and for waves without samples.
        """
        if wave.ndim != 3 or wave.shape[1] != 1 or not wave.shape[2]:
            raise ValueError(
                f"the autoencoder takes waves [B, 1, T] of at least one sample, not {list(wave.shape)}; "
                "t2a.audio.transform.to_channels mixes."
            )
        if length is None or bool((length >= wave.shape[-1]).all()):
            return self.spectrogram(wave[:, 0])
        spec, samples = self.config.mel, wave.shape[-1]
        frames = int(spec.frames(torch.tensor(samples)))
        mel = self.spectrogram(mirrored(wave, length, spec.edge)[:, 0])[..., :frames]
        return self._silenced(mel, mask_of(spec.frames(length), frames))

    def scaled(self, mel: Tensor) -> Tensor:
        """Return a spectrogram as the network sees it."""
        return (mel - self.centre) / self.scale

    def forward(self, mel: Tensor, length: Tensor | None = None) -> AutoencoderOutput:
        """Encode and decode [B, M, L]; while training with latents drawn from the posterior, by torch's generator."""
        mean, logvar = self.posterior(mel, length)
        z = mean + (logvar / 2).exp() * torch.randn_like(mean) if self.training else mean
        decoded, last = self._decoded(z, None if length is None else self.latent_length(length))
        frames = mel.shape[-1]
        mask = mask_of(length, frames)
        return AutoencoderOutput(self._silenced(decoded[..., :frames], mask), mean, logvar, last)

    def posterior(self, mel: Tensor, length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the latents of a spectrogram, not standardised."""
        frames = self.factor * self.latent_length(mel.shape[-1])
        x = self.scaled(held(mel, length, frames))
        whole = None if length is None else self.factor * self.latent_length(length)
        mean, logvar = self.network.encode(x.to(self._dtype), mask_of(whole, frames)).float().chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR)

    def encode(self, mel: Tensor, length: Tensor | None = None) -> Tensor:
        """Return the mean latents of a spectrogram, standardised: (mean - latent_mean) / latent_std."""
        _check(mel, "spectrograms")
        mean, _ = self.posterior(mel, length)
        return (mean - self._per_channel(self.latents.mean, mean)) / self._per_channel(self.latents.std, mean)

    def decode(self, z: Tensor, length: Tensor | None = None) -> Tensor:
        """Return the spectrogram [B, M, L' * factor] of standardised latents."""
        _check(z, "latents")
        z = z * self._per_channel(self.latents.std, z) + self._per_channel(self.latents.mean, z)
        decoded, _ = self._decoded(z, length)
        return self._silenced(decoded, mask_of(None if length is None else length * self.factor, decoded.shape[-1]))

    def _decoded(self, z: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the spectrogram of latents as they are, and what the last layer saw of them."""
        last = self.network.decode(z.to(self._dtype), mask_of(length, z.shape[-1]))
        mel = self.network.last(last).reshape(len(z), self.config.mel.n_mels, -1).float()
        return mel * self.scale + self.centre, last

    @property
    def _dtype(self) -> torch.dtype:
        return self.network.last.weight.dtype

    def _silenced(self, mel: Tensor, mask: Tensor | None) -> Tensor:
        return mel if mask is None else mel.masked_fill(~spread(mask, mel), self.silence)

    def _per_channel(self, values: Tensor, like: Tensor) -> Tensor:
        return values.to(like.dtype).view(-1, *[1] * (like.ndim - 2))


def _check(values: Tensor, what: str) -> None:
    """Raise `ValueError` for numbers that are none; compiled code is not asked to look."""
    if not torch.compiler.is_compiling() and not torch.isfinite(values).all():
        raise ValueError(f"the autoencoder takes finite {what}, these hold NaN or infinity.")
