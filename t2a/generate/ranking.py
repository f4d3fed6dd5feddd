"""Best of n: several clips for each prompt, of which a judge keeps the one that fits it best."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from t2a.conditions.clap import Clap, trained
from t2a.conditions.encoder import Sounds
from t2a.errors import ConfigError
from t2a.generate.judge import Judge
from t2a.generate.loading import Generator, Progress
from t2a.generate.states import together

TRIES = 2**20  # seeds of one prompt's tries lie this far apart, so that those of neighbouring seeds never meet


class Scores(Protocol):
    """Says how well sounds fit captions."""

    def scores(self, captions: Sequence[str], sounds: Sounds) -> Any:
        """Score each sound against its caption, [B]; higher is better."""
        ...


def judge_of(where: str) -> Scores:
    """Load a judge: a trained clap (a folder, a run, s3:// or models:/), or a ClapModel of transformers.

    The latter is a folder that this program did not write, or a name of the hub.
    """
    return Clap(where) if trained(where) is None else Judge.from_folder(where)


class Ranked(NamedTuple):
    """The clip [C, T] that was kept for a prompt, its seed, and the scores of all tries in their order."""

    clip: NDArray[np.float32]
    seed: int
    scores: list[float]


def tries(seed: int, count: int) -> list[int]:
    """Derive the seeds of a prompt's tries; the first is the seed itself, as without ranking."""
    return [(seed + TRIES * attempt) % 2**63 for attempt in range(count)]


def best_of(
    generator: Generator,
    judge: Scores | None,
    prompts: Sequence[str],
    seconds: float,
    *,
    seeds: Sequence[int],
    count: int,
    progress: Progress | None = None,
    **settings: Any,
) -> list[Ranked]:
    """Make `count` clips for each prompt and seed and keep the one with the highest score, the first of equals.

    A round of tries is a batch of the prompts; `settings` go to `Generator.generate`. What is kept for a prompt does
    not depend on the others. Without a judge there is one try, and no score.
    Raises `ConfigError` for a prompt without words, which nothing can be ranked by.
    """
    if count < 1 or (count > 1 and judge is None):
        needed = "ask for the best of 1 or more" if count < 1 else "name a judge, such as a CLAP"
        raise ConfigError(f"The best of {count} clips cannot be found: {needed}.")
    if judge is None:
        clips = generator.generate(prompts, seconds, seeds=seeds, progress=progress, **settings)
        return [Ranked(clip, seed, []) for clip, seed in zip(clips, seeds, strict=True)]
    if not all(prompt.strip() for prompt in prompts):
        raise ConfigError("A prompt is empty, so no clip fits it better than another: say what to hear.")
    clips: list[list[NDArray[np.float32]]] = []
    scores: list[list[float]] = []
    attempts = [tries(seed, count) for seed in seeds]
    for attempt in range(count):
        made = generator.generate(
            prompts,
            seconds,
            seeds=[own[attempt] for own in attempts],
            progress=_part(progress, attempt, count),
            **settings,
        )
        found = judge.scores(prompts, together(made, generator.sample_rate))
        clips.append(made)
        scores.append([float(score) for score in found])
    return [_best(clips, scores, attempts[row], row) for row in range(len(prompts))]


def _best(clips: list[list[NDArray[np.float32]]], scores: list[list[float]], seeds: Sequence[int], row: int) -> Ranked:
    own = [found[row] for found in scores]
    kept = max(range(len(own)), key=lambda attempt: -math.inf if math.isnan(own[attempt]) else own[attempt])
    return Ranked(clips[kept][row], seeds[kept], own)


def _part(progress: Progress | None, attempt: int, count: int) -> Progress | None:
    """Tell the progress of one round as that of all."""
    if progress is None:
        return None
    return lambda done, total: progress(attempt * total + done, count * total)
