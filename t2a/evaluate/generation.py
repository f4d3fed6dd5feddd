"""How the clips that a model makes differ from each other, and how they fit what the model was told."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.audio.chroma import ChromaSpec
from t2a.errors import ConfigError
from t2a.generate.judge import Judge
from t2a.generate.loading import Generator
from t2a.generate.states import together
from t2a.metrics.chroma import chroma_cosine
from t2a.metrics.diversity import diversity, mel_vectors
from t2a.metrics.interval import Interval, bootstrap

TAKES = 4
GUIDANCE = 3.0


Embed = Callable[[Sequence[NDArray[np.float32]], int], NDArray[np.float32]]
"""Waves [C, T] at a rate -> their vectors [N, D], such as a judge's"""


class Reference(NamedTuple):
    """A held-out clip [C, T] and its caption."""

    caption: str
    wave: NDArray[np.float32]


def made(
    generator: Generator, batches: Sequence[Mapping[str, Any]], count: int, judge: str | None, seed: int = 0
) -> tuple[dict[str, Interval], dict[str, Any]]:
    """Measure what a model makes of the captions of the first `count` clips of held-out batches, and say how."""
    found = references(generator, batches, count)
    embed = Judge.from_folder(judge).sounds if judge else None
    by = judge or "mel bands"
    told = f"{TAKES} clips each for {len(found)} prompts, guidance {GUIDANCE:g}, seed {seed}; diversity by {by}"
    return measure_generation(generator, found, embed, seed), {"generated": told}


def references(generator: Generator, batches: Sequence[Mapping[str, Any]], count: int) -> list[Reference]:
    """Decode the first `count` clips of held-out batches of codes or latents."""
    found = []
    for batch in batches:
        columns = batch[generator.kind], batch["length"].tolist(), batch["captions"], batch["weight"].tolist()
        for frames, length, caption, weight in zip(*columns, strict=True):
            if weight > 0 and len(found) < count:
                found.append(Reference(caption, generator.sound(frames[..., :length])))
    return found


@torch.inference_mode()
def measure_generation(
    generator: Generator, references: Sequence[Reference], embed: Embed | None = None, seed: int = 0
) -> dict[str, Interval]:
    """Make `TAKES` clips of each caption, as long as the shortest reference, and compare.

    `diversity` is the mean pairwise cosine distance of the takes' embeddings, of their mel bands without `embed`;
    beside it that of as many clips of the corpus.
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
            vectors = mel_vectors(together(sounds, rate).waves, rate) if embed is None else embed(sounds, rate)
            values[f"diversity/{name}"].append(diversity(torch.as_tensor(vectors)))
        if melodious:
            for name, tune in (("its melody", waves[i]), ("another melody", waves[other])):
                values[f"chroma_cosine/{name}"].append(_agreement(takes, tune, rate))
    found = {name: [value for value in row if not np.isnan(value)] for name, row in values.items()}
    return {name: bootstrap(row) for name, row in found.items() if row}


def _agreement(takes: Sequence[NDArray[np.float32]], tune: NDArray[np.float32], rate: int) -> float:
    estimate = together(takes, rate).waves
    target = torch.from_numpy(tune)[None].expand(len(takes), -1, -1)
    return float(chroma_cosine(estimate, target, ChromaSpec(sample_rate=rate)).mean())
