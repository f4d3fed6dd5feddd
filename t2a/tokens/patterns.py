"""Interleaving patterns: which frame of which codebook stands at which step, as pure index layouts.

A pattern turns codes [B, K, L] into steps [B, K, S], of which a language model predicts one column at a time
(MusicGen, section 2.2). Places that hold no code hold the special token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Pattern = str | Sequence[int]  # a name, or the delay of every codebook in steps


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
    """Lay K codebooks and L frames out by `parallel`, `delay`, or explicit delays such as (0, 1, 1, 1)."""
    delays = _delays(pattern, codebooks)
    frame = torch.arange(frames)
    step_of = torch.stack([frame + delay for delay in delays])
    frame_at = torch.full((codebooks, frames + max(delays)), -1, dtype=torch.int64)
    frame_at.scatter_(1, step_of, frame.expand(codebooks, -1))
    return Layout(frame_at, step_of)


def _delays(pattern: Pattern, codebooks: int) -> Sequence[int]:
    if isinstance(pattern, str):
        named = {"parallel": [0] * codebooks, "delay": list(range(codebooks))}
        if pattern not in named:
            raise ValueError(f"there is no pattern {pattern!r}: use one of {', '.join(named)}, or a list of delays")
        return named[pattern]
    if len(pattern) != codebooks or min(pattern) < 0:
        raise ValueError(f"the delays {list(pattern)} do not fit: give {codebooks} of them, none negative")
    return pattern
