"""Held-out figures of a trained model beside its baselines, each with a 95 % interval over clips."""

from t2a.errors import ConfigError
from t2a.metrics.interval import Interval
from t2a.models.pretrained import locate, read_config

__all__ = ["evaluate"]


def evaluate(model: str, corpus: str, *, split: str = "test", rows: int = 128) -> dict[str, Interval]:
    """Measure a model on up to `rows` clips of a split; names are "<metric>/<system>".

    Raises `ConfigError` for a model of a kind that has no figures, `DataError` when the corpus has no such split.
    """
    from t2a.evaluate.codec import evaluate_codec
    from t2a.evaluate.entropy import evaluate_entropy
    from t2a.evaluate.lm import evaluate_lm

    kinds = {"codec": evaluate_codec, "lm": evaluate_lm, "entropy": evaluate_entropy}
    folder = locate(model)
    kind = read_config(folder).get("model_type")
    if kind not in kinds:
        raise ConfigError(f"{model} holds a {kind}, there are figures for: {', '.join(kinds)}.")
    return kinds[kind](folder, corpus, split, rows)
