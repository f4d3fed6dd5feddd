"""What a generator is told: the states of one or more condition encoders."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Condition(NamedTuple):
    """Token states and which of them are real; padding must never be attended to."""

    tokens: Tensor
    """[B, S, D] float"""
    mask: Tensor
    """[B, S] bool, True = real"""

    def to(self, device: torch.device) -> "Condition":
        """Move both."""
        return Condition(self.tokens.to(device), self.mask.to(device))


class StoredCondition(NamedTuple):
    """A condition that was encoded before training, and by whom."""

    condition: Condition
    fingerprint: str
    """of the encoder, see `t2a.conditions`"""


def padded(states: Sequence[Tensor], width: int) -> Condition:
    """Put the states [S_i, D] of B rows into one float32 condition [B, S, D], S >= 1."""
    longest = max((len(state) for state in states), default=0)
    tokens = torch.zeros(len(states), max(longest, 1), width)
    mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
    for row, state in enumerate(states):
        tokens[row, : len(state)] = state
        mask[row, : len(state)] = True
    return Condition(tokens, mask)
