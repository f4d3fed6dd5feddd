"""Clips longer than a model was trained on: windows that slide over them (MusicGen, section 3.4).

Each window begins with the last frames of what there is, read anew at the positions that the model knows from its
training. Nothing that is kept grows with the clip.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from t2a.generate.session import Session, draws
from t2a.models.lm import LM

OVERLAP = 0.4  # of a window with the one before it, as a share; MusicGen keeps 12 of 30 s


class Span(NamedTuple):
    """Frames of a clip that are made in one window."""

    start: int
    """of the window: frames from here to `begin` are read"""
    begin: int
    end: int
    """frames from `begin` to here are drawn"""


def spans(known: int, frames: int, longest: int, overlap: float = OVERLAP) -> list[Span]:
    """Plan the windows of at most `longest` frames that continue `known` frames, fewer than `longest`, to `frames`."""
    kept = min(int(overlap * longest), longest - 1)
    planned = [Span(0, known, min(longest, frames))]
    while (made := planned[-1].end) < frames:
        start = made - kept
        planned.append(Span(start, made, min(start + longest, frames)))
    return planned


def slide(session: Session, given: Tensor, planned: list[Span]) -> Iterator[Tensor]:
    """Continue codes [B, K, P] by windows; each step yields the frames [B, K, n], n >= 0, that it makes complete."""
    window = given
    for span in planned:
        kept = window[:, :, window.shape[2] - (span.begin - span.start) :]
        pieces = [kept]
        for fresh in session.window(kept, span.end - span.start):
            pieces.append(fresh)
            yield fresh
        window = torch.cat(pieces, dim=2)


def steps(model: LM, planned: list[Span]) -> int:
    """Count what `slide` yields."""
    count = cache(lambda known, frames: draws(model, known, frames))
    return sum(count(span.begin - span.start, span.end - span.start) for span in planned)
