"""How well a language model predicts codes, against their frequencies, and what the right caption is worth."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.conditions.clap import Clap
from t2a.conditions.encoders import EncodersFile
from t2a.data.batch import held_out
from t2a.data.rows import CodesConfig
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.generation import GUIDANCE, TAKES, Reference, measure_generation
from t2a.generate.lm import LMGenerator
from t2a.metrics import codes as statistics
from t2a.metrics.interval import bootstrap
from t2a.models.lm import LM
from t2a.tasks.lm import LMTaskConfig

BATCH = 16


@torch.inference_mode()
def evaluate_lm(
    folder: Path, corpus: str, split: str, rows: int, generated: int = 0, judge: str | None = None
) -> Evaluation:
    """Nats a code: with its caption, with another's, without any, and of the split's own code frequencies.

    `gain/...` are differences within each clip, so that their intervals tell whether they are above 0. For the first
    `generated` captions clips are made and compared, see `t2a.evaluate.generation`; `judge` is a CLAP that hears them.
    """
    model = LM.from_pretrained(folder)
    config = model.config
    encoders = EncodersFile.read(folder).encoders
    task = LMTaskConfig(model=config, encoders=encoders, codec=str(folder / "codec")).build()
    data = CodesConfig(uri=corpus, codebooks=config.codebooks, crop_frames=config.max_frames)
    batches = held_out(data, split, BATCH, 0, 1, rows)
    values: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for batch in batches:
        real = batch["weight"].numpy() > 0
        found = task.evaluate({"lm": model}, batch)
        for name in ("ce", "ce_shuffled", "ce_null"):
            values[name].append(found[name].double().numpy()[real])
    nats = {name: np.concatenate(parts) for name, parts in values.items()}
    nats["unigram"] = unigram(batches, config.codebooks, config.bins)
    gains = {
        "gain/over unigram": nats["unigram"] - nats["ce"],
        "gain/over shuffled captions": nats["ce_shuffled"] - nats["ce"],
        "gain/over no caption": nats["ce_null"] - nats["ce"],
    }
    names = {"ce": "its caption", "ce_shuffled": "another caption", "ce_null": "no caption", "unigram": "unigram"}
    figures = {f"nats/{names[name]}": bootstrap(row) for name, row in nats.items()}
    figures |= {name: bootstrap(row) for name, row in gains.items()}
    if not generated:
        return Evaluation(figures)
    generator = LMGenerator.from_folder(folder)
    found = measure_generation(generator, references(generator, batches, generated), Clap(judge) if judge else None)
    by = f"CLAP {judge}" if judge else "mel bands"
    told = f"{TAKES} clips each for {min(generated, rows)} prompts, guidance {GUIDANCE:g}; diversity by {by}"
    return Evaluation(figures | found, {"generated": told})


def references(generator: LMGenerator, batches: list[dict[str, Any]], count: int) -> list[Reference]:
    """Decode the first `count` clips of batches of codes."""
    channels, found = generator.model.config.channels, []
    for batch in batches:
        for codes, length, caption, weight in zip(
            batch["codes"], batch["length"].tolist(), batch["captions"], batch["weight"].tolist(), strict=True
        ):
            if weight > 0 and len(found) < count:
                apart = codes[:, :length].unflatten(0, (-1, channels)).transpose(0, 1)  # [channels, K, L]
                wave = generator.codec.decode(apart, length * generator.codec.hop).flatten(0, 1)
                found.append(Reference(caption, wave.numpy()))
    return found


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
