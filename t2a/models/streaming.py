"""A codec at work on signals that come in pieces of any size: nothing differs from coding the whole at once.

Convolutions carry the samples they will still need, transposed ones the sums not yet complete, LSTMs their state. A
codec that is not causal waits for the future it looks at. What is held depends on the codec, not on the signal.
"""

from functools import singledispatch

import torch
from torch import Tensor, nn

from t2a.models.codec import Codec, CodecConfig, ResidualUnit, SkipLSTM
from t2a.nn.conv import Conv1d, ConvTranspose1d
from t2a.nn.stream import Chain, ConvStage, ConvTransposeStage, LSTMStage, PointStage, Stage, Sum


class StreamingEncoder:
    """Turn one signal [B, C, T] into codes [B, K, L], piece by piece; fold the codec first (`Codec.fold`).

    Codes are those of `Codec.encode` but for ties: where two codes are equally near, rounding decides.
    """

    def __init__(self, codec: Codec, codebooks: int | None = None) -> None:
        _refuse(codec.config)
        self._codec, self._codebooks = codec, codebooks
        self._stage = stage(codec.encoder)
        self._batch: int | None = None
        self._finished = False

    @property
    def latency(self) -> int:
        """Samples that are pushed before the first frame comes out; one more comes with at most `hop` more."""
        return self._stage.needs(1)

    def push(self, wave: Tensor) -> Tensor:
        """Take the next samples [B, C, n], n >= 0, and return the codes [B, K, l] that are complete."""
        shape = ("B" if self._batch is None else self._batch, self._codec.channels)
        if wave.ndim != 3 or wave.shape[1] != shape[1] or self._batch not in (None, len(wave)):
            raise ValueError(
                f"a piece has the shape {list(wave.shape)}; this stream takes [{shape[0]}, {shape[1]}, n]."
            )
        self._batch = len(wave)
        return self._next(wave, False)

    def finish(self) -> Tensor:
        """End the signal and return its remaining codes [B, K, l], the last frame filled up as in the whole."""
        like = next(self._codec.encoder.parameters())
        codes = self._next(like.new_zeros(self._batch or 1, self._codec.channels, 0), True)
        self._finished = True
        return codes

    @torch.no_grad()
    def _next(self, wave: Tensor, last: bool) -> Tensor:
        if self._finished:
            raise ValueError("this stream is finished; open another one for the next signal.")
        return self._codec.quantizer.encode(self._stage.push(wave, last), self._codebooks)


class StreamingDecoder:
    """Turn the codes [B, k, L] of one signal into its wave [B, C, L * hop], piece by piece; fold the codec first.

    Samples are those of `Codec.decode` up to rounding.
    """

    def __init__(self, codec: Codec) -> None:
        _refuse(codec.config)
        self._codec = codec
        self._stage = stage(codec.decoder)
        self._batch: int | None = None
        self._finished = False

    @property
    def latency(self) -> int:
        """Samples' worth of codes that are pushed before the first sample comes out; then frame by frame."""
        return self._stage.needs(1) * self._codec.hop

    def push(self, codes: Tensor) -> Tensor:
        """Take the next codes [B, k, l], l >= 0, and return the samples [B, C, n] that are complete."""
        if codes.ndim != 3 or self._batch not in (None, len(codes)):
            raise ValueError(f"a piece has the shape {list(codes.shape)}; this stream takes [{self._batch}, k, l].")
        self._batch = len(codes)
        return self._next(self._codec.quantizer.decode(codes), False)

    def finish(self) -> Tensor:
        """End the signal and return its remaining samples [B, C, n]."""
        wave = self._next(torch.zeros(self._batch or 1, self._codec.config.dimension, 0), True)
        self._finished = True
        return wave

    @torch.no_grad()
    def _next(self, latents: Tensor, last: bool) -> Tensor:
        if self._finished:
            raise ValueError("this stream is finished; open another one for the next signal.")
        like = next(self._codec.decoder.parameters())
        return self._stage.push(latents.to(like.device, like.dtype), last).float()


def context_frames(codec: Codec, memory_seconds: float = 0.5) -> int:
    """Return how many frames on either side of a window make it what it is in the whole, in coding and in decoding.

    Its convolutions then see all that they see in the whole. What LSTMs remember has no end: they get
    `memory_seconds` on top to settle, and what came before those is lost.
    """
    hop = codec.hop
    first, after = stage(codec.encoder).reach(0, 1)
    seen = max(-first, after - hop)
    first, after = stage(codec.decoder).reach(0, hop)
    seen = max(-(-seen // hop), -first, after - 1)
    return seen + (round(memory_seconds * codec.frame_rate) if codec.config.lstm_layers else 0)


@singledispatch
def stage(layer: nn.Module) -> Stage:
    """Return the layer at work on one signal."""
    return PointStage(layer)


@stage.register
def _(layer: Conv1d) -> Stage:
    return ConvStage(layer)


@stage.register
def _(layer: ConvTranspose1d) -> Stage:
    return ConvTransposeStage(layer)


@stage.register
def _(layer: nn.Sequential) -> Stage:
    return Chain([stage(inner) for inner in layer])


@stage.register
def _(layer: ResidualUnit) -> Stage:
    return Sum(stage(layer.shortcut), stage(layer.block))


@stage.register
def _(layer: SkipLSTM) -> Stage:
    return Sum(PointStage(nn.Identity()), LSTMStage(layer.lstm))


def _refuse(config: CodecConfig) -> None:
    if config.normalise:
        raise ValueError(
            "a codec that normalises measures the loudness of all that it codes before its first frame and cannot "
            "stream: code it in segments (t2a.models.segments)."
        )
    if config.norm == "time_group":
        raise ValueError(
            'a codec with norm "time_group" looks at the whole signal before its first frame and cannot stream: '
            "code it in windows (t2a.models.windows), or train one with norm weight or layer."
        )
