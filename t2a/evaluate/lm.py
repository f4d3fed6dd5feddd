"""How well a language model predicts codes, against their frequencies, and what the right caption is worth."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.conditions.encoders import EncodersFile
from t2a.data.batch import held_out
from t2a.data.rows import CodesConfig
from t2a.evaluate.captions import compared, losses
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.generation import made
from t2a.generate.lm import LMGenerator
from t2a.metrics import codes as statistics
from t2a.models.lm import LM
from t2a.tasks.lm import LMTaskConfig

BATCH = 16


@torch.inference_mode()
def evaluate_lm(
    folder: Path, corpus: str, split: str, rows: int, generated: int = 0, judge: str | None = None, seed: int = 0
) -> Evaluation:
    """Nats a code: with its caption, with another's, without any, and of the split's own code frequencies.

    `gain/...` are differences within each clip, so that their intervals tell whether they are above 0. For the first
    `generated` captions clips are made and compared, see `t2a.evaluate.generation`; `judge` is a clap that embeds them.
    """
    model = LM.from_pretrained(folder)
    config = model.config
    encoders = EncodersFile.read(folder).encoders
    task = LMTaskConfig(model=config, encoders=encoders, codec=str(folder / "codec")).build()
    data = CodesConfig(uri=corpus, codebooks=config.codebooks, crop_frames=config.max_frames)
    batches = held_out(data, split, BATCH, 0, 1, rows)
    nats = losses(task, {"lm": model}, batches, "ce")
    nats["unigram"] = unigram(batches, config.codebooks, config.bins)
    figures = compared("nats", nats)
    if not generated:
        return Evaluation(figures)
    found, told = made(LMGenerator.from_folder(folder), batches, generated, judge, seed)
    return Evaluation(figures | found, told)


def unigram(batches: list[dict[str, Any]], codebooks: int, bins: int) -> NDArray[np.float64]:
    """Nats a code of each clip by the code frequencies of these very clips: the best guess without any context."""
    clips = [
        codes[:, :length].numpy()
        for batch in batches
        for codes, length, weight in zip(batch["codes"], batch["length"].tolist(), batch["weight"], strict=True)
        if weight > 0
    ]
    counts = statistics.count(clips, codebooks, bins)
    with np.errstate(divide="ignore"):
        cost = -np.log(counts / counts.sum(1, keepdims=True))
    return np.array([np.take_along_axis(cost, clip, axis=1).mean() for clip in clips])
