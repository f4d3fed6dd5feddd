"""How well a CLAP finds the captions of a sound, the sounds of a caption and the category of a sound, held out."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.data.skips import Skips
from t2a.errors import DataError
from t2a.evaluate.clips import Clip, sample
from t2a.evaluate.evaluation import Evaluation
from t2a.generate.judge import Judge
from t2a.metrics.clap_score import clap_score
from t2a.metrics.interval import Interval, bootstrap
from t2a.metrics.retrieval import chance, recall

LONGEST = 10.0  # seconds that are heard of a clip
AT = (1, 5, 10)
TEMPLATES = ("{}", "the sound of {}", "a recording of {}", "this sound is {}")  # of a category's name
CATEGORY = "sound to category"


@torch.inference_mode()
def evaluate_clap(folder: Path, corpus: str, split: str, rows: int) -> Evaluation:
    """R@1, R@5, R@10 both ways among the clips and all their captions, CLAP score, and zero-shot accuracy.

    Every figure stands beside chance; accuracy also beside the answer that is right most often, whatever is heard.
    """
    judge, skips = Judge.from_folder(folder), Skips()
    clips = heard(judge, corpus, split, rows, skips)
    captions = candidates(clips)
    vectors = judge.sounds([clip.wave for clip in clips], judge.sample_rate)
    similarity, right = vectors @ judge.captions(captions).T, fitting(clips, captions)
    figures = retrieval(similarity, right)
    score = clap_score(similarity, right)
    figures |= {"clap_score/its captions": bootstrap(score.own), "clap_score/other captions": bootstrap(score.others)}
    figures["gain/its captions over others"] = bootstrap(score.gain)
    named = [index for index, clip in enumerate(clips) if clip.category]
    categories = [clips[index].category for index in named]
    left_out = {}
    if len(set(categories)) > 1:
        figures |= zero_shot(judge, vectors[named], categories)
    else:
        left_out["accuracy"] = "the clips have no `category`, or all the same"
    told = f"{len(captions)} distinct captions" + (f", {len(set(categories))} categories" if not left_out else "")
    return Evaluation(figures, {"clips": len(clips), "sample": told, "skipped": skips.counts, "left_out": left_out})


def heard(judge: Judge, corpus: str, split: str, rows: int, skips: Skips) -> list[Clip]:
    """Draw the clips that have captions. Raises `DataError` where these do not tell them apart."""
    clips = list(sample(corpus, split, rows, 0, rate=judge.sample_rate, channels=1, longest=LONGEST, skips=skips))
    clips = [clip for clip in clips if any(caption.strip() for caption in clip.captions)]
    captions = candidates(clips)
    if len(captions) < 2 or fitting(clips, captions).all(1).any():
        raise DataError(f"The clips of {corpus} ({split}) say {len(captions)} things: finding needs wrong answers too.")
    return clips


def candidates(clips: Sequence[Clip]) -> list[str]:
    """All that is said of the clips, each once."""
    return sorted({caption.strip() for clip in clips for caption in clip.captions} - {""})


def fitting(clips: Sequence[Clip], captions: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which captions [M] are said of which clips, [N, M]."""
    said = [{caption.strip() for caption in clip.captions} for clip in clips]
    return np.array([[caption in own for caption in captions] for own in said])


def retrieval(similarity: NDArray[np.floating], right: NDArray[np.bool_]) -> dict[str, Interval]:
    """Recall both ways: any of its captions by a sound, any of its sounds by a caption."""
    figures = {}
    for way, scores, relevant in (
        ("sound to caption", similarity, right),
        ("caption to sound", similarity.T, right.T),
    ):
        figures |= {f"r@{k}/{way}": bootstrap(recall(scores, relevant, k)) for k in AT}
        figures |= {f"r@{k}/{way}, by chance": bootstrap(chance(relevant, k)) for k in AT}
    return figures


def zero_shot(judge: Judge, vectors: NDArray[np.floating], categories: Sequence[str]) -> dict[str, Interval]:
    """Accuracy of the category whose name, written into templates, is nearest to a sound [N, D] (CLIP, section 3.1)."""
    classes = sorted(set(categories))
    hits = recall(
        vectors @ prototypes(judge, classes).T, np.array([[own == c for c in classes] for own in categories]), 1
    )
    commonest = Counter(categories).most_common(1)[0][0]
    always = np.array([own == commonest for own in categories], np.float64)
    return {
        f"accuracy/{CATEGORY}": bootstrap(hits),
        f"accuracy/{CATEGORY}, always {commonest}": bootstrap(always),
        f"accuracy/{CATEGORY}, by chance": bootstrap(np.full(len(hits), 1 / len(classes))),
        f"gain/{CATEGORY} over always {commonest}": bootstrap(hits - always),
    }


def prototypes(judge: Judge, classes: Sequence[str]) -> NDArray[np.floating]:
    """Embed each class by the mean of its templates, [N, D] of norm 1."""
    names = [name.replace("_", " ") for name in classes]
    told = judge.captions([template.format(name) for name in names for template in TEMPLATES])
    mean = told.reshape(len(classes), len(TEMPLATES), -1).mean(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)
