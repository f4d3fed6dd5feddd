"""Layers that learn to read: a small transformer over the states of an encoder that is not trained."""

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.config import Config
from t2a.nn.condition import Condition
from t2a.nn.positions import sinusoids
from t2a.nn.transformer import Encoder, Shape


class TextLayersConfig(Config):
    """Sizes of `TextLayers`."""

    width: int = Field(256, gt=0, multiple_of=2)
    layers: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "TextLayersConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads = {self.heads}")
        return self


class TextLayers(nn.Module):
    """Projects states, adds their places and lets the real ones look at each other."""

    def __init__(self, config: TextLayersConfig, inputs: int) -> None:
        super().__init__()
        self.inward = nn.Linear(inputs, config.width)
        shape = Shape(config.width, config.heads, 4 * config.width, dropout=config.dropout)
        self.encoder = Encoder(shape, config.layers)

    def forward(self, condition: Condition) -> Tensor:
        """Map states [B, S, D] to [B, S, width]; those of padding mean nothing."""
        x = self.inward(condition.tokens)
        places = sinusoids(torch.arange(x.shape[1], device=x.device), x.shape[2]).to(x.dtype)
        nothing = ~condition.mask.any(1, keepdim=True)  # an empty caption looks at its padding: attention needs a key
        return self.encoder(x + places, condition.mask | nothing)
