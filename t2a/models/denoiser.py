"""The network of a latent diffusion model with all that it is told: time, length and conditions (Make-An-Audio)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.config import Config
from t2a.diffusion.process import DiffusionConfig, ProcessConfig
from t2a.models.dit import DiT, DiTConfig
from t2a.models.pretrained import Pretrained
from t2a.models.unet import UNet, UNetConfig
from t2a.nn.attention import Context
from t2a.nn.condition import Condition, Name, check_known, drawn, joined, projected
from t2a.nn.frames import spread

NetworkConfig = Annotated[DiTConfig | UNetConfig, Field(discriminator="kind")]
NETWORKS: dict[type[Config], type[DiT] | type[UNet]] = {DiTConfig: DiT, UNetConfig: UNet}


TIMES = 1000  # that networks embed: times are scaled so that they end there, for a flow too


class ConditionConfig(Config):
    """One thing that a model is told by cross-attention: a caption, an image, ..."""

    width: int = Field(gt=0)  # of the encoder's states
    dropout: float = Field(0.1, ge=0, le=1)  # share of the training rows that do not see it


class DenoiserConfig(Config):
    """Sizes and wiring of a `Denoiser`."""

    latent: tuple[Annotated[int, Field(gt=0)], ...] = Field(min_length=1, max_length=2)
    """(C,) or (C, F), a frame of the autoencoder's latents: its `latent_shape`"""
    max_frames: int = Field(gt=0)  # of latents, the longest clip it is trained on
    network: NetworkConfig = DiTConfig()
    process: ProcessConfig = DiffusionConfig()
    conditions: dict[Name, ConditionConfig] = Field({"text": ConditionConfig(width=384)})
    extra_channels: int = Field(0, ge=0)  # that it reads beside the noisy latents: for inpainting, C + 1

    @model_validator(mode="after")
    def _network_takes_latents(self) -> Self:
        if isinstance(self.network, UNetConfig):
            self.network.check(self.latent)
        return self


class Denoiser(Pretrained):
    """Predicts what a diffusion or flow process asks of noisy latents.

    Conditions are attended to in every block, one after another in the config's order. A row without one of them -
    dropped in training, with an empty mask, or where none is given - sees a learned null token in its place.
    """

    model_type: ClassVar[str] = "denoiser"
    config_class = DenoiserConfig

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        self.time_scale = TIMES / config.process.build().horizon
        build = NETWORKS[type(config.network)]
        self.network = build(config.network, config.latent, config.extra_channels, bool(config.conditions))
        width = self.network.context_width
        self.projections = nn.ModuleDict({name: nn.Linear(c.width, width) for name, c in config.conditions.items()})
        self.nulls = nn.ParameterDict({name: nn.Parameter(torch.randn(width)) for name in config.conditions})

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        length: Tensor | None = None,
        conditions: Mapping[str, Condition] | None = None,
        drop: Mapping[str, Tensor] | None = None,
        extra: Tensor | None = None,
    ) -> Tensor:
        """Predict from noisy latents [B, C, (F,) L] the same shape, zero beyond each row's length.

        t: [B], up to the process's horizon, as it gives them to a network.
        length: int64 [B] real frames, at least 1; None = all. What stands beyond them changes nothing.
        conditions: by their names in the config; what is missing is null.
        drop: bool [B] by name, rows that do not see a condition; in training they are drawn from torch's global
        generator, condition by condition with its `dropout`, when not given.
        extra: [B, extra_channels, (F,) L]; None = zeros.
        """
        if drop is None and self.training:
            shares = {name: condition.dropout for name, condition in self.config.conditions.items()}
            drop = drawn(shares, len(x), x.device)
        return self.predict(x, t, length, self.read(conditions, len(x), drop), extra)

    def read(
        self, conditions: Mapping[str, Condition] | None, batch: int, drop: Mapping[str, Tensor] | None = None
    ) -> Context | None:
        """Compute what all steps of a sampling run share: the conditions' keys and values in every layer.

        None where the config has no conditions.
        """
        conditions, drop = conditions or {}, drop or {}
        check_known({**conditions, **drop}, self.config.conditions)
        states = [
            projected(conditions.get(name), projection, self.nulls[name], batch, drop.get(name))
            for name, projection in self.projections.items()
        ]
        told = joined(states)
        return None if told is None else self.network.read(told)

    def predict(
        self, x: Tensor, t: Tensor, length: Tensor | None, context: Context | None, extra: Tensor | None = None
    ) -> Tensor:
        """Predict as `forward` does, with the conditions that `read` has computed.

        The network computes in the type of its weights, whatever that of x, which is the result's.
        """
        self._check(x, extra)
        frames, t, asked = x.shape[-1], t * self.time_scale, x.dtype
        x = x.to(next((parameter.dtype for parameter in self.network.parameters()), asked))
        if extra is not None or self.config.extra_channels:
            missing = x.new_zeros(len(x), self.config.extra_channels, *x.shape[2:])
            x = torch.cat([x, missing if extra is None else extra.to(x.dtype)], dim=1)
        if length is None:
            length = torch.full((len(x),), frames, device=x.device)
        if bool((length >= frames).all()):
            return self.network(x, t, length, None, context).to(asked)
        real = torch.arange(frames, device=x.device) < length[:, None]
        # Not multiplied: the filling may be NaN, which is to stay outside too.
        filled = ~spread(real, x)
        y = self.network(x.masked_fill(filled, 0.0), t, length, real, context)
        return y.to(asked).masked_fill(filled, 0.0)

    def _check(self, x: Tensor, extra: Tensor | None) -> None:
        latent, channels = self.config.latent, self.config.extra_channels
        if x.shape[1:-1] != latent:
            raise ValueError(f"latents have frames of {tuple(x.shape[1:-1])}, the model takes {latent}")
        if extra is not None and extra.shape != (len(x), channels, *x.shape[2:]):
            raise ValueError(f"extra is {tuple(extra.shape)}, with these latents it is [B, {channels}, ...]")
