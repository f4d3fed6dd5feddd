"""What entropy coding saves on held-out codes, from the float model down to the bytes of files."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from t2a.data.schema import unpack_codes
from t2a.data.shards import read_manifest, read_rows
from t2a.errors import ConfigError, DataError
from t2a.evaluate.evaluation import Evaluation
from t2a.generate.compress import CHUNK_SECONDS
from t2a.generate.container import OVERHEAD
from t2a.metrics import codes as statistics
from t2a.metrics.interval import Interval, bootstrap
from t2a.models.entropy import EntropyConfig, EntropyModel
from t2a.models.fixedpoint import INTEGER, IntegerModel
from t2a.tokens.entropy import RangeCoding, cost


@torch.inference_mode()
def evaluate_entropy(folder: Path, corpus: str, split: str, rows: int) -> Evaluation:
    """Bits a code over all codes of the clips by each system, and the share of log2(bins) that it saves.

    Systems are the float model, its integer form, the bytes of files (chunks of at most 10 s, each from an empty
    context, with their heads, without the file's header of some 400 bytes), and the frequencies of these very codes.
    """
    model, integer = EntropyModel.from_pretrained(folder), IntegerModel.from_pretrained(folder / INTEGER)
    config = model.config
    clips = list(_clips(corpus, split, rows, config))
    if not clips:
        raise DataError(f"{corpus} has no rows in split '{split}' to evaluate on; prepare it with one.")
    spent: list[dict[str, float]] = []
    for codes, frame_rate in clips:
        chunks = codes[None].split(round(CHUNK_SECONDS * frame_rate), dim=2)
        parts = [_bits(chunk, model, integer) for chunk in chunks]
        spent.append({name: sum(part[name] for part in parts) for name in parts[0]})
    sizes = np.array([codes.numel() for codes, _ in clips])
    totals = {name: [clip[name] for clip in spent] for name in spent[0]}
    totals["unigram"] = _unigram([codes.numpy() for codes, _ in clips], config)
    best = math.log2(config.bins)
    figures = {}
    for name, bits in totals.items():
        codebook = "codebook" in name
        figures[f"bits/{name}"] = _ratio(bits, sizes / config.codebooks if codebook else sizes)
        if not codebook:
            figures[f"saving/{name}"] = _ratio(best * sizes - bits, best * sizes)
    return Evaluation(figures, {"chunk_seconds": CHUNK_SECONDS, "codes": int(sizes.sum())})


def _clips(corpus: str, split: str, rows: int, config: EntropyConfig) -> Iterator[tuple[Tensor, float]]:
    """Codes int64 [K, L] and frames a second of the first `rows` clips of a split."""
    kind = read_manifest(corpus).kind
    if kind != "codes":
        raise ConfigError(f"{corpus} is a corpus of {kind}: give the codes that `t2a prepare codes` made of it.")
    for row in islice(read_rows(corpus, split), rows):
        codes = unpack_codes(row["codes"])
        if len(codes) != config.codebooks or codes.max(initial=0) >= config.bins:
            made = f"{config.codebooks} codebooks of {config.bins}"
            raise DataError(f"{corpus}: the codes of {row['id']} are not of {made}; give codes of the model's codec.")
        if codes.size:
            yield torch.from_numpy(codes), row["frame_rate"]


def _bits(codes: Tensor, model: EntropyModel, integer: IntegerModel) -> dict[str, float]:
    """Bits that a chunk [1, K, L] costs by each system."""
    chances = model(codes).double().log_softmax(-1).gather(-1, codes.transpose(1, 2)[..., None])
    exact = cost(integer.read(codes, integer.start(1, codes.shape[2])), codes)
    each = {f"integer model, codebook {k + 1}": float(value) for k, value in enumerate(exact.sum((0, 1)))}
    return {
        "float model": -float(chances.sum()) / math.log(2),
        "integer model": float(exact.sum()),
        "file": 8.0 * (len(RangeCoding(integer).encode(codes)) + OVERHEAD),
    } | each


def _unigram(clips: list[np.ndarray], config: EntropyConfig) -> list[float]:
    """Bits of each clip by the frequencies of these very clips: the best guess without any context."""
    counts = statistics.count(clips, config.codebooks, config.bins)
    with np.errstate(divide="ignore"):
        price = -np.log2(counts / counts.sum(1, keepdims=True))
    return [float(np.take_along_axis(price, clip, axis=1).sum()) for clip in clips]


def _ratio(above: ArrayLike, below: ArrayLike) -> Interval:
    """Sum over sum, with the interval of a ratio estimator over clips (Cochran, Sampling Techniques, chapter 6)."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    ratio = above.sum() / below.sum()
    return bootstrap(ratio + (above - ratio * below) / below.mean())
