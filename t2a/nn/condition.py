"""What a generator is told: the states of one or more condition encoders."""

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor, nn


def _free(name: str) -> str:
    if hasattr(nn.ModuleDict, name) or hasattr(nn.ParameterDict, name):
        raise ValueError(f"a condition cannot be called {name}, torch uses that name: choose another")
    return name


Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$"), AfterValidator(_free)]
"""What a model calls a condition"""


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


def joined(conditions: Sequence[Condition]) -> Condition | None:
    """Put conditions end to end along their tokens."""
    if not conditions:
        return None
    tokens, masks = zip(*conditions, strict=True)
    return Condition(torch.cat(tokens, dim=1), torch.cat(masks, dim=1))


def drawn(shares: Mapping[str, float], batch: int, device: torch.device) -> dict[str, Tensor]:
    """Choose for each condition with a share the rows of a training batch that do not see it, bool [B].

    Drawn from torch's global generator, condition by condition.
    """
    return {name: torch.rand(batch, device=device) < share for name, share in shares.items() if share}


def projected(
    condition: Condition | None, projection: nn.Linear, null: Tensor, batch: int, drop: Tensor | None, length: int = 1
) -> Condition:
    """Bring a condition to the model's width; rows without it hold `length` times the null at their first places.

    null: [D]. drop: bool [B], rows that do not see it. No condition at all is null in every row.
    """
    if condition is None:
        return Condition(null.expand(batch, length, -1), null.new_ones(batch, length, dtype=torch.bool))
    mask = condition.mask if drop is None else condition.mask & ~drop[:, None]
    tokens = projection(condition.tokens.to(projection.weight.dtype)).masked_fill(~mask[..., None], 0.0)
    room = max(0, length - mask.shape[1])
    tokens, mask = F.pad(tokens, (0, 0, 0, room)), F.pad(mask, (0, room))
    places = (torch.arange(mask.shape[1], device=mask.device) < length) & ~mask.any(1, keepdim=True)
    return Condition(torch.where(places[..., None], null.to(tokens.dtype), tokens), mask | places)


def pooled(condition: Condition) -> Tensor:
    """Mean of the real tokens [B, D]; every row needs one."""
    tokens, mask = condition
    return (tokens * mask[..., None]).sum(1) / mask.sum(1)[:, None]


def check_known(given: Mapping[str, object], known: Mapping[str, object]) -> None:
    """Refuse conditions that a model does not have."""
    if unknown := given.keys() - known.keys():
        raise ValueError(f"the model has no condition {sorted(unknown)}, only {list(known)}")
