"""How the clips that a language model makes differ from each other, and how they fit what the model was told."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.audio.chroma import ChromaSpec
from t2a.conditions.clap import Clap
from t2a.errors import ConfigError
from t2a.generate.lm import LMGenerator
from t2a.generate.states import together
from t2a.metrics.chroma import chroma_cosine
from t2a.metrics.diversity import diversity, mel_vectors
from t2a.metrics.interval import Interval, bootstrap

TAKES = 4
GUIDANCE = 3.0


class Reference(NamedTuple):
    """A held-out clip [C, T] and its caption."""

    caption: str
    wave: NDArray[np.float32]


@torch.inference_mode()
def measure_generation(
    generator: LMGenerator, references: Sequence[Reference], judge: Clap | None = None, seed: int = 0
) -> dict[str, Interval]:
    """Make `TAKES` clips of each caption, as long as the shortest reference, and compare.

    `diversity` is the mean pairwise cosine distance of the takes, by CLAP if there is a judge, else by their mel bands;
    beside it that of as many clips of the corpus. `clap` is the judge's score with the own and with another caption.
    A model that follows melodies is given each reference's: `chroma_cosine` compares with it, and with another's.
    Raises `ConfigError` when there are fewer than 2 references.
    """
    count = len(references)
    if count < 2:
        raise ConfigError(
            f"Generation is measured on 2 prompts or more, there is {count}: raise --generated and --rows."
        )
    rate = generator.sample_rate
    seconds = min(generator.max_seconds, min(row.wave.shape[1] for row in references) / rate)
    waves = [row.wave[:, : round(seconds * rate)] for row in references]
    melodious = "sounds" in generator.encoders.reads
    values: dict[str, list[float]] = defaultdict(list)
    for i, (caption, _) in enumerate(references):
        other = (i + 1) % count
        takes = generator.generate(
            [caption] * TAKES,
            seconds,
            seeds=[seed + TAKES * i + take for take in range(TAKES)],
            guidance=GUIDANCE,
            melody=(waves[i], rate) if melodious else None,
        )
        clips = [waves[(i + step) % count] for step in range(min(TAKES, count))]
        for name, sounds in (("generated", takes), ("corpus", clips)):
            values[f"diversity/{name}"].append(diversity(_vectors(sounds, rate, judge)))
        if judge is not None:
            for name, text in (("its caption", caption), ("another caption", references[other].caption)):
                score = judge.scores([text] * TAKES, together(takes, rate)).mean()
                values[f"clap/{name}"].append(float(score))
        if melodious:
            for name, tune in (("its melody", waves[i]), ("another melody", waves[other])):
                values[f"chroma_cosine/{name}"].append(_agreement(takes, tune, rate))
    found = {name: [value for value in row if not np.isnan(value)] for name, row in values.items()}
    return {name: bootstrap(row) for name, row in found.items() if row}


def _vectors(waves: Sequence[NDArray[np.float32]], rate: int, judge: Clap | None) -> torch.Tensor:
    sounds = together(waves, rate)
    return mel_vectors(sounds.waves, rate) if judge is None else judge.sounds(sounds)


def _agreement(takes: Sequence[NDArray[np.float32]], tune: NDArray[np.float32], rate: int) -> float:
    estimate = together(takes, rate).waves
    target = torch.from_numpy(tune)[None].expand(len(takes), -1, -1)
    return float(chroma_cosine(estimate, target, ChromaSpec(sample_rate=rate)).mean())
