"""Interleaving patterns: which frame of which codebook stands at which step, as pure index layouts.

A pattern turns codes [B, K, L] into steps [B, K, S], of which a language model predicts one column at a time
(MusicGen, section 2.2). Places that hold no code hold the special token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Entry = int | Sequence[int]
"""a codebook, or [codebook, its delay in frames]"""
Order = Sequence[Sequence[Sequence[Entry]]]
"""stages one after another; each goes through all frames, taking for every frame its steps in turn; a step predicts
its codebooks at once"""
Pattern = str | Sequence[int] | Order
"""a name, the delay of every codebook in steps, or an order"""

NAMED: dict[str, Callable[[int], Order]] = {
    "parallel": lambda count: [[range(count)]],
    "delay": lambda count: [[[(k, k) for k in range(count)]]],
    "partial_delay": lambda count: [[[(k, min(k, 1)) for k in range(count)]]],
    "flatten": lambda count: [[[k] for k in range(count)]],
    "partial_flatten": lambda count: [[[0], range(1, count)]],
    "coarse_first": lambda count: [[[0]], [range(1, count)]],
}
"""MusicGen's patterns, figure 1 and section 4.4: K codebooks -> order"""


@dataclass(frozen=True)
class Layout:
    """One pattern applied to K codebooks and L frames."""

    frame_at: Tensor  # int64 [K, S], the frame that stands at a step, -1 where none does
    step_of: Tensor  # int64 [K, L], the step at which a frame stands

    @property
    def steps(self) -> int:
        """S."""
        return self.frame_at.shape[1]

    def valid(self, length: Tensor | None = None) -> Tensor:
        """Where real codes stand: bool [K, S], or [B, K, S] given the valid frames of each row, int64 [B]."""
        frame_at = self.frame_at if length is None else self.frame_at.to(length.device)[None]
        inside = frame_at >= 0
        return inside if length is None else inside & (frame_at < length[:, None, None])

    def build(self, codes: Tensor, special: int, length: Tensor | None = None) -> Tensor:
        """Lay codes [B, K, L] out as steps [B, K, S]; everything else, frames past `length` too, is `special`."""
        batch, codebooks, frames = codes.shape
        if (codebooks, frames) != tuple(self.step_of.shape):
            raise ValueError(f"the layout is for codes {list(self.step_of.shape)}, these are {[codebooks, frames]}")
        frame_at = self.frame_at.to(codes.device)
        steps = codes.gather(2, frame_at.clamp(min=0).expand(batch, -1, -1))
        return steps.masked_fill(~self.valid(length).to(codes.device), special)

    def revert(self, steps: Tensor) -> Tensor:
        """Read the codes [B, K, L] back from steps [B, K, S]."""
        return steps.gather(2, self.step_of.to(steps.device).expand(steps.shape[0], -1, -1))


def layout(pattern: Pattern, codebooks: int, frames: int) -> Layout:
    """Lay K codebooks and L frames out by a name of `NAMED`, by delays such as (0, 1, 1, 1), or by an `Order`.

    Raises `ValueError` for a pattern that does not hold each codebook once.
    """
    step_of = torch.full((codebooks, frames), -1, dtype=torch.int64)
    start = 0
    for stage in _order(pattern, codebooks):
        for index, step in enumerate(stage):
            for codebook, delay in step:
                step_of[codebook] = start + len(stage) * (torch.arange(frames) + delay) + index
        start = int(step_of.max()) + 1
    frame_at = torch.full((codebooks, start), -1, dtype=torch.int64)
    frame_at.scatter_(1, step_of, torch.arange(frames).expand(codebooks, -1))
    return Layout(frame_at, step_of)


def _order(pattern: Pattern, codebooks: int) -> list[list[list[tuple[int, int]]]]:
    """Write a pattern out as stages of steps of (codebook, delay), without the empty ones."""
    if isinstance(pattern, str):
        if pattern not in NAMED:
            raise ValueError(f"there is no pattern {pattern!r}: use one of {', '.join(NAMED)}, delays or an order")
        pattern = NAMED[pattern](codebooks)
    if all(isinstance(entry, int) for entry in pattern):
        pattern = [[list(enumerate(pattern))]]
    stages = [[[_entry(entry) for entry in step] for step in stage if len(step)] for stage in pattern]
    entries = sorted(entry for stage in stages for step in stage for entry in step)
    if [codebook for codebook, _ in entries] != list(range(codebooks)) or min(delay for _, delay in entries) < 0:
        raise ValueError(f"the pattern {pattern} does not fit: give each of {codebooks} codebooks once, delays from 0")
    return [stage for stage in stages if stage]


def _entry(entry: Entry) -> tuple[int, int]:
    if isinstance(entry, int):
        return entry, 0
    codebook, delay = entry
    return codebook, delay
