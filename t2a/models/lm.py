"""Autoregressive transformer over the codes of a neural codec, conditioned on text (AudioGen, MusicGen)."""

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.config import Config
from t2a.models.pretrained import Pretrained
from t2a.nn.condition import Condition
from t2a.nn.transformer import Decoder, Positions, State

Delay = Annotated[int, Field(ge=0)]


class LMConfig(Config):
    """Sizes and wiring of an `LM`."""

    codebooks: int = Field(4, gt=0)
    bins: int = Field(1024, gt=1)  # codes of a codebook; the special token is one more
    max_frames: int = Field(500, gt=0)  # the longest clip it is trained on
    pattern: Literal["parallel", "delay"] | tuple[Delay, ...] = "delay"  # see t2a.tokens.patterns
    width: int = Field(256, gt=0)
    layers: int = Field(6, gt=0)
    heads: int = Field(4, gt=0)
    feedforward: int = Field(4, gt=0)  # times width
    positions: Positions = "sinusoidal"
    embedding: Literal["mean", "sum"] = "mean"  # of the codebooks: AudioGen averages, MusicGen adds
    fuse: tuple[Literal["prepend", "cross"], ...] = Field(("prepend", "cross"), min_length=1)
    condition_width: int = Field(384, gt=0)  # of the text encoder
    condition_dropout: float = Field(0.1, ge=0, le=1)  # share of the training samples that see no text
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "LMConfig":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 * heads = {2 * self.heads}")
        if isinstance(self.pattern, tuple) and len(self.pattern) != self.codebooks:
            raise ValueError(f"pattern {list(self.pattern)} must give one delay for each of {self.codebooks} codebooks")
        return self


class LM(Pretrained):
    """Predicts the codes of the next step, all codebooks of a step independently given the past.

    A condition stands before the audio (`prepend`), is attended to in every block (`cross`), or both. A row without
    text - dropped in training, or with an empty mask - gets one learned null token in its place.
    """

    model_type: ClassVar[str] = "lm"
    config_class = LMConfig

    def __init__(self, config: LMConfig):
        super().__init__()
        self.config = config
        width, rows = config.width, config.codebooks * (config.bins + 1)
        self.embedding = nn.Embedding(rows, width)
        self.condition = nn.Linear(config.condition_width, width)
        self.null = nn.Parameter(torch.randn(width))
        self.decoder = Decoder(
            width,
            config.layers,
            config.heads,
            config.feedforward * width,
            cross="cross" in config.fuse,
            positions=config.positions,
            dropout=config.dropout,
        )
        self.heads = nn.Linear(width, config.codebooks * config.bins, bias=False)
        nn.init.normal_(self.heads.weight, std=0.02)
        terms = config.codebooks**0.5  # the fused embedding starts with unit variance, beside positions of variance 1/2
        nn.init.normal_(self.embedding.weight, std=terms if config.embedding == "mean" else 1 / terms)
        nn.init.normal_(self.condition.weight, std=1 / math.sqrt(config.condition_width))
        nn.init.zeros_(self.condition.bias)

    @property
    def special(self) -> int:
        """The token of places that hold no code."""
        return self.config.bins

    def forward(self, codes: Tensor, condition: Condition | None = None, drop: Tensor | None = None) -> Tensor:
        """Predict what follows each step: logits [B, K, S, V].

        codes: int64 [B, K, S] in pattern space, shifted by one step: they begin with a column of `special`.
        condition: None stands for no text. drop: bool [B], rows whose text is hidden; in training it is drawn with
        `condition_dropout` from torch's global generator when not given.
        """
        batch, share = codes.shape[0], self.config.condition_dropout
        if drop is None and self.training and share > 0:
            drop = torch.rand(batch, device=codes.device) < share
        x = self._embed(codes)
        text, mask = self._text(condition, batch, drop)
        context, context_mask = (text, mask) if "cross" in self.config.fuse else (None, None)
        if "prepend" not in self.config.fuse:
            return self._logits(self.decoder(x, None, context, context_mask))
        real = torch.cat([mask, mask.new_ones(batch, codes.shape[2])], dim=1)
        y = self.decoder(torch.cat([text.to(x.dtype), x], dim=1), real, context, context_mask)
        return self._logits(y[:, text.shape[1] :])

    def start(self, condition: Condition | None, batch: int, steps: int) -> State:
        """Begin a generation of at most `steps` steps: read the condition once, allocate the caches."""
        text, mask = self._text(condition, batch, None)
        prefix = text.shape[1] if "prepend" in self.config.fuse else 0
        context, context_mask = (text, mask) if "cross" in self.config.fuse else (None, None)
        state = self.decoder.start(batch, prefix + steps, context, context_mask)
        if prefix:
            self.decoder.advance(text, state, mask)
        return state

    def advance(self, codes: Tensor, state: State) -> Tensor:
        """Predict what follows the next steps, codes int64 [B, K, N] -> logits [B, K, N, V], as `forward` would."""
        return self._logits(self.decoder.advance(self._embed(codes), state))

    def _embed(self, codes: Tensor) -> Tensor:
        """int64 [B, K, S] -> [B, S, D], the mean or the sum over codebooks."""
        first = torch.arange(self.config.codebooks, device=codes.device) * (self.config.bins + 1)
        vectors = self.embedding(codes + first[:, None])
        return vectors.mean(1) if self.config.embedding == "mean" else vectors.sum(1)

    def _text(self, condition: Condition | None, batch: int, drop: Tensor | None) -> tuple[Tensor, Tensor]:
        """Project a condition to [B, S, D] with its mask [B, S]; rows without text hold the null token at place 0."""
        if condition is None:
            return self.null.expand(batch, 1, -1), self.null.new_ones(batch, 1, dtype=torch.bool)
        mask = condition.mask if drop is None else condition.mask & ~drop[:, None]
        empty = ~mask.any(1)
        text = self.condition(condition.tokens.to(self.condition.weight.dtype))
        text = text.masked_fill(~mask[..., None], 0.0)
        place = torch.zeros_like(mask)
        place[:, 0] = empty
        return torch.where(place[..., None], self.null.to(text.dtype), text), mask | place

    def _logits(self, y: Tensor) -> Tensor:
        """[B, S, D] -> [B, K, S, V]."""
        return self.heads(y).unflatten(-1, (self.config.codebooks, self.config.bins)).transpose(1, 2)
