"""What a generator is told: the states of one or more condition encoders."""

from typing import NamedTuple

from torch import Tensor


class Condition(NamedTuple):
    """Token states and which of them are real; padding must never be attended to."""

    tokens: Tensor
    """[B, S, D] float"""
    mask: Tensor
    """[B, S] bool, True = real"""
