"""How well a CLAP finds the caption of a sound and the sound of a caption, among held-out ones."""

from pathlib import Path

import numpy as np
import torch

from t2a.data.skips import Skips
from t2a.evaluate.clips import sample
from t2a.evaluate.evaluation import Evaluation
from t2a.generate.judge import Judge
from t2a.metrics.interval import bootstrap
from t2a.metrics.retrieval import chance, recall

LONGEST = 10.0  # seconds that are heard of a clip
AT = (1, 5, 10)


@torch.inference_mode()
def evaluate_clap(folder: Path, corpus: str, split: str, rows: int) -> Evaluation:
    """R@1, R@5, R@10 both ways among the clips and the distinct captions of the split, beside chance.

    "sound to caption" at 1 is zero-shot accuracy with every distinct caption as a class.
    """
    judge, skips = Judge.from_folder(folder), Skips()
    clips = list(sample(corpus, split, rows, 0, rate=judge.sample_rate, channels=1, longest=LONGEST, skips=skips))
    clips = [clip for clip in clips if clip.captions]
    captions = [clip.captions[0].strip() for clip in clips]
    distinct = sorted(set(captions))
    similarity = judge.similarity([clip.wave for clip in clips], judge.sample_rate, distinct)
    right = np.array([[caption == other for other in distinct] for caption in captions])
    ways = {"sound to caption": (similarity, right), "caption to sound": (similarity.T, right.T)}
    figures = {}
    for way, (scores, relevant) in ways.items():
        figures |= {f"r@{k}/{way}": bootstrap(recall(scores, relevant, k)) for k in AT}
        figures |= {f"r@{k}/{way}, by chance": bootstrap(chance(relevant, k)) for k in AT}
    conditions = {"clips": len(clips), "sample": f"{len(distinct)} distinct captions", "skipped": skips.counts}
    return Evaluation(figures, conditions)
