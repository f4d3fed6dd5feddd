"""How well a CLAP finds the captions of a sound, the sounds of a caption and the category of a sound, held out."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.data.captions import normal
from t2a.data.schema import Split
from t2a.data.shards import read_manifest
from t2a.data.skips import Skips
from t2a.errors import DataError
from t2a.evaluate.clips import Clip, draw, sample
from t2a.evaluate.evaluation import Evaluation
from t2a.generate.judge import Judge
from t2a.metrics.clap_score import clap_score
from t2a.metrics.interval import Interval, bootstrap
from t2a.metrics.retrieval import chance, recall

LONGEST = 10.0  # seconds that are heard of a clip
AT = (1, 5, 10)
TEMPLATES = ("{}", "the sound of {}", "a recording of {}", "this sound is {}")  # of a category's name
DESCRIBES: Split = "train"
DESCRIBED = 2000  # of its clips, whose captions tell what their categories sound like
CATEGORY = "category"


@torch.inference_mode()
def evaluate_clap(folder: Path, corpus: str, split: str, rows: int, *, seed: int = 0) -> Evaluation:
    """R@1, R@5, R@10 both ways among the clips and all their captions, CLAP score, and zero-shot accuracy.

    Every figure stands beside chance; accuracy also beside the answer that is right most often, whatever is heard.
    """
    judge, skips = Judge.from_folder(folder), Skips()
    clips = heard(judge, corpus, split, rows, seed, skips)
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
        said = described(corpus) if split != DESCRIBES else {}  # of the clips that are judged it would tell too much
        figures |= zero_shot(judge, vectors[named], categories, said)
    else:
        left_out["accuracy"] = "the clips have no `category`, or all the same"
    told = f"{len(captions)} distinct captions" + (f", {len(set(categories))} categories" if not left_out else "")
    conditions = {
        "split": split, "seed": seed, "rows": rows, "clips": len(clips), "sample": f"{told}, drawn with seed {seed}",
        "skipped": skips.counts, "left_out": left_out,
    }  # fmt: skip
    return Evaluation(figures, conditions)


def heard(judge: Judge, corpus: str, split: str, rows: int, seed: int, skips: Skips) -> list[Clip]:
    """Draw the clips that have captions. Raises `DataError` where these do not tell them apart."""
    clips = list(sample(corpus, split, rows, seed, rate=judge.sample_rate, channels=1, longest=LONGEST, skips=skips))
    clips = [clip for clip in clips if any(caption.strip() for caption in clip.captions)]
    captions = candidates(clips)
    if len(captions) < 2 or fitting(clips, captions).all(1).any():
        raise DataError(f"The clips of {corpus} ({split}) say {len(captions)} things: finding needs wrong answers too.")
    return clips


def candidates(clips: Sequence[Clip]) -> list[str]:
    """All that is said of the clips, each once, as it is first written."""
    found: dict[str, str] = {}
    for caption in (text.strip() for clip in clips for text in clip.captions):
        found.setdefault(normal(caption), caption)
    return sorted(found[key] for key in found.keys() - {""})


def fitting(clips: Sequence[Clip], captions: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which captions [M] are said of which clips, [N, M]."""
    said = [{normal(caption) for caption in clip.captions} for clip in clips]
    asked = [normal(caption) for caption in captions]
    return np.array([[caption in own for caption in asked] for own in said])


def retrieval(similarity: NDArray[np.floating], right: NDArray[np.bool_]) -> dict[str, Interval]:
    """Recall both ways: any of its captions by a sound, any of its sounds by a caption.

    The captions of one clip are found or missed together more often than not, which their intervals allow for.
    """
    figures, clip_of = {}, right.argmax(0).tolist()
    for way, scores, relevant, groups in (
        ("sound to caption", similarity, right, None),
        ("caption to sound", similarity.T, right.T, clip_of),
    ):
        figures |= {f"r@{k}/{way}": bootstrap(recall(scores, relevant, k), groups=groups) for k in AT}
        figures |= {f"r@{k}/{way}, by chance": bootstrap(chance(relevant, k), groups=groups) for k in AT}
    return figures


def zero_shot(
    judge: Judge, vectors: NDArray[np.floating], categories: Sequence[str], said: Mapping[str, Sequence[str]]
) -> dict[str, Interval]:
    """Accuracy of the category whose words are nearest to a sound [N, D] (CLIP, section 3.1).

    The words are its name, written into templates; and, where `said` of its clips in training is known, these captions
    in the place of the name, which many a category's does not tell what is heard.
    """
    classes = sorted(set(categories))
    right = np.array([[own == other for other in classes] for own in categories])
    names = {name: [template.format(name.replace("_", " ")) for template in TEMPLATES] for name in classes}
    words = {CATEGORY: names} | ({f"{CATEGORY} by captions": names | said} if said else {})
    commonest = Counter(categories).most_common(1)[0][0]
    always = np.array([own == commonest for own in categories], np.float64)
    figures = {}
    for way, told in words.items():
        hits = recall(vectors @ prototypes(judge, [told[name] for name in classes]).T, right, 1)
        figures[f"accuracy/{way}"] = bootstrap(hits)
        figures[f"gain/{way} over always"] = bootstrap(hits - always)
    figures[f"accuracy/{CATEGORY}, always {commonest}"] = bootstrap(always)
    return figures | {f"accuracy/{CATEGORY}, by chance": bootstrap(np.full(len(always), 1 / len(classes)))}


def prototypes(judge: Judge, told: Sequence[Sequence[str]]) -> NDArray[np.floating]:
    """Embed each class by the mean of what is told of it, [N, D] of norm 1."""
    mean = np.stack([judge.captions(words).mean(0) for words in told])
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def described(corpus: str, split: Split = DESCRIBES) -> dict[str, list[str]]:
    """Collect the distinct captions of each category in a sample of a split; nothing where the corpus has none."""
    if not any(shard.rows for shard in read_manifest(corpus).of(split)):
        return {}
    found: dict[str, set[str]] = defaultdict(set)
    for _, row in draw(corpus, split, DESCRIBED, 0, ["captions", "category"]):
        found[row["category"] or ""] |= {caption.strip() for caption in row["captions"] or []} - {""}
    return {category: sorted(captions) for category, captions in found.items() if category and captions}
