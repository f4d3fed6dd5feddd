"""Whether what is generated is what was asked for: a CLAP ranks each caption by how well it fits the sound."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.data.schema import unpack_codes
from t2a.data.shards import read_manifest, read_rows
from t2a.errors import ConfigError, DataError
from t2a.evaluate.evaluation import Evaluation
from t2a.generate.judge import Judge
from t2a.generate.loading import Generator, load
from t2a.generate.sounding import decode
from t2a.metrics.clap_score import clap_score
from t2a.metrics.interval import bootstrap
from t2a.metrics.retrieval import percentile, recall
from t2a.models.codec import Codec
from t2a.models.pretrained import locate, read_config

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


@dataclass(frozen=True)
class Steering:
    """Figures by system, and the clips that they were taken from."""

    evaluation: Evaluation
    clips: list[Made]
    rate: int


@torch.inference_mode()
def evaluate_steering(
    model: str,
    corpus: str,
    judge: str,
    *,
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
    other captions. The held-out clips themselves, through the codec, show what the judge can
    tell at best. Every clip is as long as the held-out one, at most `seconds`: most sounds end, and no model learns
    what would come then. Length alone tells something, so guidance 0, which hears no text, is the baseline.
    "gain" is the difference of ranks within each caption; each is a mean over `takes` clips of different seeds.
    """
    rows = held_out(corpus, split, clips, seed)
    captions = [caption for caption, _ in rows]
    generator, hearing = load(model), Judge.from_folder(judge)
    seconds = min(seconds, generator.max_seconds)
    originals = decoded(locate(model), [codes for _, codes in rows], seconds)
    lengths = [wave.shape[1] for wave in originals]
    systems = {ORIGINALS: [originals]}
    for guidance in guidances:
        made = [generated(generator, captions, lengths, guidance, seed + take * len(rows)) for take in range(takes)]
        systems[f"guidance {guidance:g}"] = made
    right = np.eye(len(captions), dtype=bool)
    ranks, figures, clips_made = {}, {}, []
    for system, tries in systems.items():
        scores = [hearing.similarity(waves, generator.sample_rate, captions) for waves in tries]
        ranks[system] = np.mean([percentile(score, right) for score in scores], axis=0)
        figures[f"rank/{system}"] = bootstrap(ranks[system])
        for k in (1, 5):
            figures[f"r@{k}/{system}"] = bootstrap(np.mean([recall(score, right, k) for score in scores], axis=0))
        fits = [clap_score(score, right) for score in scores]
        figures[f"clap_score/{system}"] = bootstrap(np.mean([fit.own for fit in fits], axis=0))
        figures[f"clap_gain/{system}"] = bootstrap(np.mean([fit.gain for fit in fits], axis=0))
        clips_made += [Made(system, *rest) for rest in zip(captions, tries[0], ranks[system].tolist(), strict=True)]
    for low, high in combinations(sorted(guidances), 2):
        gain = ranks[f"guidance {high:g}"] - ranks[f"guidance {low:g}"]
        figures[f"gain/guidance {high:g} over {low:g}"] = bootstrap(gain)
    sample = f"distinct captions, {takes} takes each, as long as the held-out clips but at most {seconds:g} s"
    conditions = {"clips": len(captions), "sample": sample, "judge": judge}
    return Steering(Evaluation(figures, conditions), clips_made, generator.sample_rate)


def generated(
    generator: Generator, captions: Sequence[str], lengths: Sequence[int], guidance: float, seed: int
) -> list[NDArray[np.float32]]:
    """Make a clip [C, length] of each caption; clips of about one length are made together."""
    step = round(GRID * generator.sample_rate)
    waves: dict[int, NDArray[np.float32]] = {}
    groups: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(lengths):
        groups[-(-length // step)].append(index)
    for count, group in groups.items():
        for some in batched(group, AT_ONCE):
            seconds = min(count * step / generator.sample_rate, generator.max_seconds)
            told, seeds = [captions[index] for index in some], [seed + index for index in some]
            made = generator.generate(told, seconds, seeds=seeds, guidance=guidance)
            waves |= {index: wave[:, : lengths[index]] for index, wave in zip(some, made, strict=True)}
    return [waves[index] for index in range(len(captions))]


def batched(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut into parts of at most `size`."""
    return (items[begin : begin + size] for begin in range(0, len(items), size))


def decoded(folder: Path, clips: Sequence[NDArray[np.int64]], seconds: float) -> list[NDArray[np.float32]]:
    """Turn codes [K, L] into waves [C, T] of at most `seconds` by the codec beside a language model."""
    codec, config = Codec.from_pretrained(folder / "codec"), read_config(folder)
    frames, channels = round(seconds * codec.frame_rate), config.get("channels", 1)
    parts = [torch.from_numpy(codes)[None, : config["codebooks"], :frames] for codes in clips]
    return [decode(codec, part, part.shape[2] * codec.hop, channels)[0].numpy() for part in parts]


def held_out(corpus: str, split: str, clips: int, seed: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Draw up to `clips` distinct captions of a corpus of codes, each with the codes [K, L] of its first clip."""
    kind = read_manifest(corpus).kind
    if kind != "codes":
        raise ConfigError(f"{corpus} is a corpus of {kind}: give the codes that `t2a prepare codes` made of it.")
    first: dict[str, NDArray[np.int64]] = {}
    for row in read_rows(corpus, split):
        if row["captions"]:
            first.setdefault(row["captions"][0].strip(), unpack_codes(row["codes"]))
    if len(first) < 2:
        raise DataError(f"{corpus} has {len(first)} captions in split '{split}', a ranking needs two: prepare more.")
    names = list(first)
    chosen = np.random.default_rng(seed).permutation(len(names))[:clips]
    return [(names[index], first[names[index]]) for index in chosen]
