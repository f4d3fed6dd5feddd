"""Layers that take a signal in pieces: what one piece leaves over is carried to the next.

A stage is fed [B, C, n] with any n, 0 too, and returns the outputs that no later input can change; the piece marked as
the last brings the rest, padded at the end as the layer pads the whole signal. The outputs of all pieces together are
those of the layer for the whole signal, up to rounding. A stage holds the state of one signal, its layer only weights.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from t2a.nn.channels_last import join
from t2a.nn.conv import Conv1d, ConvTranspose1d, pad


class Stage(Protocol):
    """A layer at work on one signal."""

    def push(self, x: Tensor, last: bool) -> Tensor:
        """Take the next piece [B, C, n] and return the outputs [B, C', m] that are complete."""
        ...

    def needs(self, n: int) -> int:
        """Return how many inputs must have come for `n` >= 1 outputs to be complete."""
        ...

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first input and the one after the last that outputs `start` to `stop` see; padding counts."""
        ...


class ConvStage:
    """A convolution with the inputs that its next windows begin with.

    Mirroring the start takes the samples that it mirrors: nothing comes out before they are there.
    """

    def __init__(self, conv: Conv1d) -> None:
        self.conv = conv
        self.left, self.right = conv.margins(0)
        self.window = (conv.kernel_size - 1) * conv.dilation + 1
        self.start = 1 + max(self.left, self.right + conv.stride - 1) if conv.pad_mode == "reflect" else 1
        self.samples = 0
        self.held: Tensor | None = None
        self.tail: Tensor | None = None

    def push(self, x: Tensor, last: bool) -> Tensor:
        conv, begun = self.conv, self.samples >= self.start
        self.samples += x.shape[-1]
        tail = x if self.tail is None else join([self.tail, x])
        x = x if self.held is None else join([self.held, x])
        if not begun and self.samples < self.start:
            self.held = self.tail = x.clone()
            return conv(x) if last and self.samples else _nothing(x, conv)
        if not begun:
            x = pad(x, self.left, 0, conv.pad_mode)
        if last:
            right = conv.margins(self.samples)[1]
            x = join([x, pad(tail, 0, right, conv.pad_mode)[..., tail.shape[-1] :]])
        frames = max(0, (x.shape[-1] - self.window) // conv.stride + 1)
        self.held = x[..., frames * conv.stride :].clone()
        self.tail = tail[..., -(self.right + conv.stride) :].clone()
        return conv.convolve(x[..., : (frames - 1) * conv.stride + self.window]) if frames else _nothing(x, conv)

    def needs(self, n: int) -> int:
        return max(self.start, self.reach(0, n)[1])

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        stride = self.conv.stride
        return start * stride - self.left, (stop - 1) * stride - self.left + self.window


class ConvTransposeStage:
    """A transposed convolution with the sums that its next inputs will add to."""

    def __init__(self, conv: ConvTranspose1d) -> None:
        self.conv = conv
        self.skip = conv.cut
        self.tail: Tensor | None = None

    def push(self, x: Tensor, last: bool) -> Tensor:
        conv = self.conv
        ready = x.shape[-1] * conv.stride
        y = conv.spread(x, None) if ready else x.new_zeros(len(x), len(conv.bias), conv.surplus)
        if self.tail is not None:
            y[..., : conv.surplus] += self.tail
        self.tail = y[..., ready:].clone()
        # What the whole loses of its start it has at its end.
        ready += conv.cut if last else 0
        skip = min(self.skip, ready)
        self.skip -= skip
        return conv.norm(y[..., skip:ready] + conv.bias[:, None])

    def needs(self, n: int) -> int:
        return self.reach(0, n)[1]

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        conv = self.conv
        first, last = start + conv.cut, stop - 1 + conv.cut
        return -((conv.stride + conv.surplus - 1 - first) // conv.stride), last // conv.stride + 1


class LSTMStage:
    """An LSTM over frames [B, D, L] with its state; like every recurrent layer it sees further than `reach` tells."""

    def __init__(self, lstm: nn.LSTM) -> None:
        self.lstm = lstm
        self.state: tuple[Tensor, Tensor] | None = None

    def push(self, x: Tensor, last: bool) -> Tensor:
        if not x.shape[-1]:
            return x
        y, self.state = self.lstm(x.transpose(1, 2), self.state)
        return y.transpose(1, 2)

    def needs(self, n: int) -> int:
        return n

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        return start, stop


class PointStage:
    """A layer that looks at one frame at a time."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def push(self, x: Tensor, last: bool) -> Tensor:
        return self.layer(x)

    def needs(self, n: int) -> int:
        return n

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        return start, stop


class Chain:
    """Stages one after another."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages

    def push(self, x: Tensor, last: bool) -> Tensor:
        for stage in self.stages:
            x = stage.push(x, last)
        return x

    def needs(self, n: int) -> int:
        for stage in reversed(self.stages):
            n = stage.needs(n)
        return n

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        for stage in reversed(self.stages):
            start, stop = stage.reach(start, stop)
        return start, stop


class Sum:
    """Two stages side by side, whose outputs are added; the one ahead waits."""

    def __init__(self, one: Stage, other: Stage) -> None:
        self.branches = one, other
        self.waiting: list[Tensor | None] = [None, None]

    def push(self, x: Tensor, last: bool) -> Tensor:
        outputs = [branch.push(x, last) for branch in self.branches]
        outputs = [y if w is None else join([w, y]) for w, y in zip(self.waiting, outputs, strict=True)]
        ready = min(y.shape[-1] for y in outputs)
        self.waiting = [y[..., ready:].clone() for y in outputs]
        return outputs[0][..., :ready] + outputs[1][..., :ready]

    def needs(self, n: int) -> int:
        return max(branch.needs(n) for branch in self.branches)

    def reach(self, start: int, stop: int) -> tuple[int, int]:
        starts, stops = zip(*(branch.reach(start, stop) for branch in self.branches), strict=True)
        return min(starts), max(stops)


def _nothing(x: Tensor, conv: Conv1d) -> Tensor:
    return x.new_zeros(len(x), len(conv.bias), 0)
