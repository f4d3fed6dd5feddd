"""Codes step by step: a language model draws the columns of its pattern, after given frames or from nothing."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from t2a.errors import CheckpointError
from t2a.models.lm import LM
from t2a.nn.condition import Condition
from t2a.nn.transformer import State
from t2a.tokens.patterns import Layout, layout
from t2a.tokens.sampling import Sampling, streams, uniforms


class Session:
    """Rows that one model makes under fixed conditions: what windows of one clip share.

    conditions: by name, with one row for each seed; None where nothing is told. A row's codes depend on its own
    conditions, seed and given frames alone.
    """

    def __init__(self, model: LM, conditions: Mapping[str, Condition] | None, seeds: Sequence[int], sampling: Sampling):
        self.model, self.sampling, self.rows = model, sampling, len(seeds)
        unguided = conditions is None or sampling.guidance == 0
        self.passes = 1 if unguided or sampling.guidance == 1 else 2
        self.conditions = None if unguided else {name: self._guided(told) for name, told in conditions.items()}
        self._streams = streams(seeds)

    def window(self, given: Tensor, frames: int) -> Iterator[Tensor]:
        """Continue codes [B, K, P] to `frames` frames; each step yields the frames [B, K, n] that it makes complete.

        n is 0 for steps that complete none, and several for the last steps of some patterns. Runs of columns in which
        there is nothing to draw are read at once, whether they stand at the beginning or, in patterns that go through
        the clip more than once, in between.
        """
        placed, known = placing(self.model, frames), given.shape[2]
        open_places = (placed.frame_at >= known).to(given.device)
        steps = open_places.any(0).nonzero()[:, 0].tolist()
        complete_at = placed.step_of.amax(0).cummax(0).values.tolist()  # the step with which a frame is complete
        padded = torch.cat([given, given.new_zeros(*given.shape[:2], frames - known)], dim=2)
        columns = placed.build(padded, self.model.special)
        inputs = torch.cat([torch.full_like(columns[:, :, :1], self.model.special), columns], dim=2)
        places = placed.step_of.to(given.device) + 1  # of the frames in `inputs`
        numbers = uniforms(self._streams, len(steps), given.shape[1]).to(given.device)
        state = self.model.start(self.conditions, self.rows * self.passes, placed.steps)
        read, done = 0, known
        for index, step in enumerate(steps):
            logits = self._advance(inputs[:, :, read : step + 1], state)
            drawn = self._checked(self.sampling.draw(logits, numbers[:, index]))
            inputs[:, :, step + 1] = drawn.where(open_places[:, step], inputs[:, :, step + 1])
            read, begin = step + 1, done
            while done < frames and complete_at[done] <= step:
                done += 1
            yield inputs.gather(2, places[:, begin:done].expand(self.rows, -1, -1))

    def _advance(self, columns: Tensor, state: State) -> Tensor:
        """Read columns [B, K, N] and predict the next: logits [B, K, V], guided ones followed by those without."""
        return self.model.advance(columns.repeat(self.passes, 1, 1), state)[:, :, -1]

    def _guided(self, told: Condition) -> Condition:
        """With two passes, the rows are followed by as many that see nothing of it."""
        if self.passes == 1:
            return told
        return Condition(told.tokens.repeat(2, 1, 1), torch.cat([told.mask, torch.zeros_like(told.mask)]))

    def _checked(self, drawn: Tensor) -> Tensor:
        if int(drawn.max()) >= self.model.config.bins:  # no token reaches a threshold that is not a number
            raise CheckpointError("The model predicts NaN, its weights are broken: use another checkpoint.")
        return drawn


def placing(model: LM, frames: int) -> Layout:
    """Return the layout of a window of a model."""
    return layout(model.config.pattern, model.config.codebooks, frames)


def draws(model: LM, known: int, frames: int) -> int:
    """Count the steps that `Session.window` takes."""
    return int((placing(model, frames).frame_at >= known).any(0).sum())
