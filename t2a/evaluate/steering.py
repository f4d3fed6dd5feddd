"""Whether what is generated is what was asked for: a CLAP ranks each caption by how well it fits the sound."""

from collections.abc import Sequence
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
from t2a.generate.loading import load
from t2a.generate.sounding import decode
from t2a.metrics.interval import bootstrap
from t2a.metrics.retrieval import percentile, recall
from t2a.models.codec import Codec
from t2a.models.pretrained import locate, read_config

AT_ONCE = 16  # clips a batch
ORIGINALS = "originals, decoded"


@dataclass(frozen=True)
class Made:
    """A clip of one system."""

    system: str
    caption: str
    wave: NDArray[np.float32]
    """[C, T]"""
    rank: float
    """share of the other captions that fit it worse than its own"""


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
    clips: int = 32,
    seconds: float = 3.0,
    guidances: Sequence[float] = (0.0, 1.0, 3.0),
    seed: int = 0,
) -> Steering:
    """Generate a clip for each of up to `clips` distinct held-out captions at each guidance, and let the judge rank.

    "rank" is the share of the other captions that the judge finds less fitting than the right one (0.5 is chance),
    "r@k" whether it stands among the best k. The held-out clips themselves, through the codec, show what the judge can
    tell at best; guidance 0 hears no text. "gain" is the difference of ranks within each caption.
    """
    rows = held_out(corpus, split, clips, seed)
    captions = [caption for caption, _ in rows]
    generator, hearing = load(model), Judge.from_folder(judge)
    waves = {ORIGINALS: decoded(locate(model), [codes for _, codes in rows], seconds)}
    seeds = [seed + index for index in range(len(captions))]
    for guidance in guidances:
        waves[f"guidance {guidance:g}"] = [
            wave
            for begin in range(0, len(captions), AT_ONCE)
            for wave in generator.generate(
                captions[begin : begin + AT_ONCE], seconds, seeds=seeds[begin : begin + AT_ONCE], guidance=guidance
            )
        ]
    right = np.eye(len(captions), dtype=bool)
    ranks, figures, made = {}, {}, []
    for system, sounds in waves.items():
        scores = hearing.similarity(sounds, generator.sample_rate, captions)
        ranks[system] = percentile(scores, right)
        figures[f"rank/{system}"] = bootstrap(ranks[system])
        figures |= {f"r@{k}/{system}": bootstrap(recall(scores, right, k)) for k in (1, 5)}
        made += [Made(system, *rest) for rest in zip(captions, sounds, ranks[system].tolist(), strict=True)]
    for low, high in combinations(sorted(guidances), 2):
        gain = ranks[f"guidance {high:g}"] - ranks[f"guidance {low:g}"]
        figures[f"gain/guidance {high:g} over {low:g}"] = bootstrap(gain)
    conditions = {"clips": len(captions), "sample": f"distinct captions, {seconds:g} s each", "judge": judge}
    return Steering(Evaluation(figures, conditions), made, generator.sample_rate)


def decoded(folder: Path, clips: Sequence[NDArray[np.int64]], seconds: float) -> list[NDArray[np.float32]]:
    """Turn codes [K, L] into waves [C, T] of at most `seconds` by the codec beside a language model."""
    codec, channels = Codec.from_pretrained(folder / "codec"), read_config(folder).get("channels", 1)
    frames = round(seconds * codec.frame_rate)
    parts = [torch.from_numpy(codes)[None, :, :frames] for codes in clips]
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
