"""Whether what is generated is what was asked for: a CLAP ranks each caption by how well it fits the sound."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.data.captions import normal
from t2a.data.schema import UNPACKED, Kind
from t2a.data.shards import read_manifest, read_rows
from t2a.errors import ConfigError, DataError
from t2a.evaluate.evaluation import Evaluation
from t2a.generate.judge import Judge
from t2a.generate.loading import Generator, generator_of, load
from t2a.metrics.clap_score import clap_score
from t2a.metrics.interval import Interval, bootstrap
from t2a.metrics.retrieval import percentile, recall
from t2a.models.pretrained import locate, weights_sha256

AT_ONCE = 32  # clips a batch
GRID = 0.5  # seconds; clips of a batch are made as long as the next multiple, then cut
ORIGINALS = "originals, decoded"


@dataclass(frozen=True)
class Made:
    """A clip of one system, the first of its takes."""

    system: str
    caption: str
    wave: NDArray[np.float32]
    """[C, T]"""
    rank: float
    """share of the other captions that fit it worse than its own, mean over the takes"""
    rate: int
    """Hz"""


@dataclass(frozen=True)
class Steering:
    """Figures by system, and the clips that they were taken from."""

    evaluation: Evaluation
    clips: list[Made]


class System(NamedTuple):
    """What was made of the captions: takes of a clip [C, T] each, their rate in Hz, and seconds a clip of each take."""

    takes: list[list[NDArray[np.float32]]]
    rate: int
    spent: list[float]


@torch.inference_mode()
def evaluate_steering(
    model: str,
    corpus: str,
    judge: str,
    *,
    against: Sequence[str] = (),
    split: str = "test",
    clips: int = 64,
    takes: int = 4,
    seconds: float = 5.0,
    guidances: Sequence[float] = (0.0, 1.0, 3.0),
    seed: int = 0,
) -> Steering:
    """Generate for each of up to `clips` distinct held-out captions at each guidance, and let the judge rank.

    "rank" is the share of the other captions that the judge finds less fitting than the right one (0.5 is chance),
    "r@k" whether it stands among the best k, "clap_score" its cosine and "clap_gain" what that is above the mean of the
    other captions. The held-out clips themselves, decoded from the corpus, show what the judge can
    tell at best. Every clip is as long as the held-out one, at most `seconds`: most sounds end, and no model learns
    what would come then. Length alone tells something, so guidance 0, which hears no text, is the baseline.
    "gain" is the difference of ranks within each caption; each is a mean over `takes` clips of different seeds.
    Models `against` it, of any kind, make clips of the same captions, lengths and seeds.
    """
    generators = {where: load(where) for where in (model, *against)}
    own, hearing = generators[model], Judge.from_folder(judge)
    rows = held_out(corpus, split, clips, seed, own.kind)
    captions = [caption for caption, _ in rows]
    seconds = min(seconds, *(generator.max_seconds for generator in generators.values()))
    frames = round(seconds * own.frame_rate)
    originals = [own.sound(torch.tensor(stored[..., :frames])) for _, stored in rows]
    lengths = [wave.shape[1] / own.sample_rate for wave in originals]
    systems = {ORIGINALS: System([originals], own.sample_rate, [])}
    for title, generator in zip(titles(list(generators)), generators.values(), strict=True):
        generated(generator, captions[:1], lengths[:1], 1.0, seed)  # loads what is loaded on first use, untimed
        for guidance in guidances:
            seeds = [seed + take * len(rows) for take in range(takes)]
            systems[f"{title}guidance {guidance:g}"] = made(generator, captions, lengths, guidance, seeds)
    evaluation, ranks = heard(systems, captions, hearing)
    figures = dict(evaluation.figures) | differences(ranks, titles(list(generators)), sorted(guidances))
    sample = f"distinct captions, {takes} takes each, as long as the held-out clips but at most {seconds:g} s"
    conditions = {
        "clips": len(captions), "sample": sample, "corpus": corpus, "split": split, "seed": seed,
        "judge": judge, "judge_sha256": weights_sha256(locate(judge)), "judge_rate": hearing.sample_rate,
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    first = [
        Made(name, *rest, system.rate)
        for name, system in systems.items()
        for rest in zip(captions, system.takes[0], ranks[name].tolist(), strict=True)
    ]
    return Steering(Evaluation(figures, conditions), first)


def titles(models: Sequence[str]) -> list[str]:
    """Say in front of a system whose it is, where there are several models: the kind, or the place of equal ones."""
    if len(models) == 1:
        return [""]
    kinds = [generator_of(locate(where), where).settings.of.lower().removeprefix("a ") for where in models]
    return [f"{kind if kinds.count(kind) == 1 else where}, " for kind, where in zip(kinds, models, strict=True)]


def heard(
    systems: Mapping[str, System], captions: Sequence[str], hearing: Judge
) -> tuple[Evaluation, dict[str, NDArray[np.float64]]]:
    """Let the judge rank the captions by every clip: figures by system, and the mean rank of each caption."""
    right, ranks, figures = np.eye(len(captions), dtype=bool), {}, {}
    for name, system in systems.items():
        scores = [hearing.similarity(waves, system.rate, captions) for waves in system.takes]
        fits = [clap_score(score, right) for score in scores]
        ranks[name] = np.mean([percentile(score, right) for score in scores], axis=0)
        figures[f"rank/{name}"] = bootstrap(ranks[name])
        for k in (1, 5):
            figures[f"r@{k}/{name}"] = bootstrap(np.mean([recall(score, right, k) for score in scores], axis=0))
        figures[f"clap_score/{name}"] = bootstrap(np.mean([fit.own for fit in fits], axis=0))
        figures[f"clap_gain/{name}"] = bootstrap(np.mean([fit.gain for fit in fits], axis=0))
        if system.spent:
            figures[f"seconds_a_clip/{name}"] = bootstrap(system.spent)
    return Evaluation(figures), ranks


def differences(
    ranks: Mapping[str, NDArray[np.float64]], names: Sequence[str], guidances: Sequence[float]
) -> dict[str, Interval]:
    """Compare ranks within each caption: guidances of each model, and models with the first one at the strongest."""
    figures = {}
    for name in names:
        for low, high in combinations(guidances, 2):
            gain = ranks[f"{name}guidance {high:g}"] - ranks[f"{name}guidance {low:g}"]
            figures[f"gain/{name}guidance {high:g} over {low:g}"] = bootstrap(gain)
    first, *others = (f"{name}guidance {guidances[-1]:g}" for name in names)
    return figures | {f"gain/{other} over {first}": bootstrap(ranks[other] - ranks[first]) for other in others}


def made(
    generator: Generator, captions: Sequence[str], lengths: Sequence[float], guidance: float, seeds: Sequence[int]
) -> System:
    """Make all clips once for each seed, and note the time."""
    takes, spent = [], []
    for seed in seeds:
        start = time.perf_counter()
        takes.append(generated(generator, captions, lengths, guidance, seed))
        spent.append((time.perf_counter() - start) / len(captions))
    return System(takes, generator.sample_rate, spent)


def generated(
    generator: Generator, captions: Sequence[str], lengths: Sequence[float], guidance: float, seed: int
) -> list[NDArray[np.float32]]:
    """Make a clip [C, T] of each caption, `lengths` seconds long; clips of about one length are made together."""
    waves: dict[int, NDArray[np.float32]] = {}
    groups: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(lengths):
        groups[math.ceil(length / GRID)].append(index)
    for count, group in groups.items():
        for some in batched(group, AT_ONCE):
            seconds = min(count * GRID, generator.max_seconds)
            told, seeds = [captions[index] for index in some], [seed + index for index in some]
            clips = generator.generate(told, seconds, seeds=seeds, guidance=guidance)
            ends = [round(lengths[index] * generator.sample_rate) for index in some]
            waves |= {index: wave[:, :end] for index, wave, end in zip(some, clips, ends, strict=True)}
    return [waves[index] for index in range(len(captions))]


def batched(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut into parts of at most `size`."""
    return (items[begin : begin + size] for begin in range(0, len(items), size))


def held_out(corpus: str, split: str, clips: int, seed: int, kind: Kind) -> list[tuple[str, NDArray[Any]]]:
    """Draw up to `clips` distinct captions of a corpus, each with the codes or latents [..., L] of its first clip."""
    if (found := read_manifest(corpus).kind) != kind:
        raise ConfigError(f"{corpus} is a corpus of {found}: give the {kind} that `t2a prepare {kind}` made of it.")
    first: dict[str, tuple[str, NDArray[Any]]] = {}
    for row in read_rows(corpus, split):
        if row["captions"]:
            caption = row["captions"][0].strip()
            first.setdefault(normal(caption), (caption, UNPACKED[kind](row[kind])))
    if len(first) < 2:
        raise DataError(f"{corpus} has {len(first)} captions in split '{split}', a ranking needs two: prepare more.")
    found = list(first.values())
    chosen = np.random.default_rng(seed).permutation(len(found))[:clips]
    return [found[index] for index in chosen]
