"""Autoregressive transformer over the codes of a neural codec, conditioned on text (AudioGen, MusicGen)."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from t2a.config import Config
from t2a.models.pretrained import Pretrained
from t2a.nn.condition import Condition, Name, check_known, drawn, joined, pooled, projected
from t2a.nn.transformer import Activation, Decoder, Positions, Shape, State

Natural = Annotated[int, Field(ge=0)]
Order = tuple[tuple[tuple[Natural | tuple[Natural, Natural], ...], ...], ...]
Pattern = Literal["parallel", "delay", "partial_delay", "flatten", "partial_flatten", "coarse_first"]


class ConditionConfig(Config):
    """One thing that a model is told: a caption, a melody, ..."""

    width: int = Field(gt=0)  # of the encoder's states
    fuse: tuple[Literal["prepend", "cross", "sum"], ...] = Field(min_length=1)  # how it reaches the decoder
    dropout: float = Field(0.1, ge=0, le=1)  # share of the training rows that do not see it
    null_length: int = Field(1, gt=0)  # null tokens that stand in its place where it is missing


class LMConfig(Config):
    """Sizes and wiring of an `LM`."""

    codebooks: int = Field(4, gt=0)
    channels: int = Field(1, gt=0)  # that a mono codec codes one by one; their codebooks are interleaved
    bins: int = Field(1024, gt=1)  # codes of a codebook; the special token is one more
    max_frames: int = Field(500, gt=0)  # the longest clip it is trained on
    pattern: Pattern | tuple[Natural, ...] | Order = "delay"  # a name, delays, or an order: see t2a.tokens.patterns
    width: int = Field(256, gt=0)
    layers: int = Field(6, gt=0)
    heads: int = Field(4, gt=0)
    kv_heads: int | None = Field(None, gt=0)  # of keys and values; fewer than heads is grouped-query attention
    qk_norm: bool = False  # normalise queries and keys by head
    feedforward: float = Field(4, gt=0)  # times width
    activation: Activation = "gelu"
    positions: Positions = "sinusoidal"
    embedding: Literal["mean", "sum"] = "mean"  # of the codebooks: AudioGen averages, MusicGen adds
    conditions: dict[Name, ConditionConfig] = Field({"text": ConditionConfig(width=384, fuse=("prepend", "cross"))})
    dropout: float = Field(0.0, ge=0, lt=1)
    checkpoint_activations: bool = False  # in training: less memory, a third more computation

    @model_validator(mode="after")
    def _fits(self) -> "LMConfig":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 * heads = {2 * self.heads}")
        if self.codebooks % self.channels:
            raise ValueError(f"codebooks {self.codebooks} must be a multiple of channels {self.channels}")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        if isinstance(self.pattern, tuple) and _placed(self.pattern) != list(range(self.codebooks)):
            raise ValueError(f"pattern {self.pattern} must place each of {self.codebooks} codebooks once")
        return self


def _placed(pattern: tuple[int, ...] | Order) -> list[int]:
    """The codebooks that delays or an order place."""
    stages = [stage for stage in pattern if isinstance(stage, tuple)]
    entries = [entry for stage in stages for step in stage for entry in step] or range(len(pattern))
    return sorted(entry if isinstance(entry, int) else entry[0] for entry in entries)


class Fused(NamedTuple):
    """The conditions at the model's width, by the way in which they reach the decoder."""

    prefix: Condition | None
    """stands before the audio: the prepended ones, one after another in the config's order"""
    context: Condition | None
    """is attended to in every block: the cross-attended ones, end to end"""
    added: Tensor | None
    """[B, 1, D], added to every position of the audio"""


class LM(Pretrained):
    """Predicts the codes of the next step, all codebooks of a step independently given the past.

    A condition stands before the audio (`prepend`), is attended to in every block (`cross`), is added to every
    position of the audio (`sum`; the mean of its tokens), or several of these. A row without it - dropped in training,
    with an empty mask, or where none is given - gets a learned null token in its place, `null_length` times.
    """

    model_type: ClassVar[str] = "lm"
    config_class = LMConfig

    def __init__(self, config: LMConfig):
        super().__init__()
        self.config = config
        width, rows = config.width, config.codebooks * (config.bins + 1)
        self.embedding = nn.Embedding(rows, width)
        self.projections = nn.ModuleDict({name: nn.Linear(c.width, width) for name, c in config.conditions.items()})
        self.nulls = nn.ParameterDict({name: nn.Parameter(torch.randn(width)) for name in config.conditions})
        shape = Shape(
            width,
            config.heads,
            round(config.feedforward * width),
            kv_heads=config.kv_heads,
            qk_norm=config.qk_norm,
            activation=config.activation,
            cross=any("cross" in condition.fuse for condition in config.conditions.values()),
            dropout=config.dropout,
        )
        self.decoder = Decoder(shape, config.layers, config.positions, config.checkpoint_activations)
        self.heads = nn.Linear(width, config.codebooks * config.bins, bias=False)
        nn.init.normal_(self.heads.weight, std=0.02)
        terms = config.codebooks**0.5  # the fused embedding starts with unit variance, beside positions of variance 1/2
        nn.init.normal_(self.embedding.weight, std=terms if config.embedding == "mean" else 1 / terms)
        for name, condition in config.conditions.items():
            nn.init.normal_(self.projections[name].weight, std=1 / math.sqrt(condition.width))
            nn.init.zeros_(self.projections[name].bias)

    @property
    def special(self) -> int:
        """The token of places that hold no code."""
        return self.config.bins

    def forward(
        self,
        codes: Tensor,
        conditions: Mapping[str, Condition] | None = None,
        drop: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Predict what follows each step: logits [B, K, S, V].

        codes: int64 [B, K, S] in pattern space, shifted by one step: they begin with a column of `special`.
        conditions: by their names in the config; what is missing is null.
        drop: bool [B] by name, rows that do not see a condition; in training they are drawn from torch's global
        generator, condition by condition with its `dropout`, when not given.
        """
        batch = codes.shape[0]
        if drop is None and self.training:
            shares = {name: condition.dropout for name, condition in self.config.conditions.items()}
            drop = drawn(shares, batch, codes.device)
        fused = self._fuse(conditions or {}, batch, drop or {})
        x = self._embed(codes, fused.added)
        context, context_mask = fused.context or (None, None)
        if fused.prefix is None:
            return self._logits(self.decoder(x, None, context, context_mask))
        prefix, mask = fused.prefix
        real = torch.cat([mask, mask.new_ones(batch, codes.shape[2])], dim=1)
        y = self.decoder(torch.cat([prefix.to(x.dtype), x], dim=1), real, context, context_mask)
        return self._logits(y[:, prefix.shape[1] :])

    def start(self, conditions: Mapping[str, Condition] | None, batch: int, steps: int) -> State:
        """Begin a generation of at most `steps` steps: read the conditions once, allocate the caches."""
        fused = self._fuse(conditions or {}, batch, {})
        context, context_mask = fused.context or (None, None)
        if fused.prefix is None:
            state = self.decoder.start(batch, steps, context, context_mask)
        else:
            prefix, mask = fused.prefix
            state = self.decoder.start(batch, prefix.shape[1] + steps, context, context_mask)
            self.decoder.advance(prefix, state, mask)
        state.added = fused.added
        return state

    def advance(self, codes: Tensor, state: State) -> Tensor:
        """Predict what follows the next steps, codes int64 [B, K, N] -> logits [B, K, N, V], as `forward` would."""
        return self._logits(self.decoder.advance(self._embed(codes, state.added), state))

    def _embed(self, codes: Tensor, added: Tensor | None) -> Tensor:
        """int64 [B, K, S] -> [B, S, D], the mean or the sum over codebooks, plus what is added to every position."""
        first = torch.arange(self.config.codebooks, device=codes.device) * (self.config.bins + 1)
        vectors = self.embedding(codes + first[:, None])
        fused = vectors.mean(1) if self.config.embedding == "mean" else vectors.sum(1)
        return fused if added is None else fused + added

    def _fuse(self, conditions: Mapping[str, Condition], batch: int, drop: Mapping[str, Tensor]) -> Fused:
        """Project every condition of the config and sort them by how they reach the decoder."""
        check_known({**conditions, **drop}, self.config.conditions)
        states = {
            name: projected(
                conditions.get(name), projection, self.nulls[name], batch, drop.get(name),
                self.config.conditions[name].null_length,
            )
            for name, projection in self.projections.items()
        }  # fmt: skip
        ways = {
            way: [states[name] for name, condition in self.config.conditions.items() if way in condition.fuse]
            for way in ("prepend", "cross", "sum")
        }
        means = [pooled(condition)[:, None] for condition in ways["sum"]]
        added = torch.stack(means).sum(0) if means else None
        return Fused(joined(ways["prepend"]), joined(ways["cross"]), added)

    def _logits(self, y: Tensor) -> Tensor:
        """[B, S, D] -> [B, K, S, V]."""
        return self.heads(y).unflatten(-1, (self.config.codebooks, self.config.bins)).transpose(1, 2)
