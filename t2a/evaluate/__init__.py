"""Held-out figures of a trained model beside its baselines, each with a 95 % interval over clips."""

from functools import partial

from t2a.errors import ConfigError
from t2a.evaluate.evaluation import Evaluation
from t2a.models.pretrained import locate, read_config

__all__ = ["Evaluation", "evaluate"]


def evaluate(
    model: str,
    corpus: str,
    *,
    split: str = "test",
    rows: int = 128,
    listened: int = 16,
    generated: int = 0,
    judge: str | None = None,
    vocoder: str | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measure a model on up to `rows` clips of a split; ViSQOL, which is slow, hears `listened` of those of a codec or
    an autoencoder.

    A language model or denoiser makes clips for `generated` captions, which takes its time; `judge` is a clap that
    hears them. An autoencoder is heard through `vocoder`, by default Griffin-Lim. `seed` draws the clips of sound that
    are measured, and what is generated; the losses of models of codes and latents are those of a split's first rows.
    Raises `ConfigError` for a model of a kind that has no figures, `DataError` when the corpus has no such split.
    """
    from t2a.evaluate.autoencoder import evaluate_autoencoder
    from t2a.evaluate.clap import evaluate_clap
    from t2a.evaluate.codec import evaluate_codec
    from t2a.evaluate.denoiser import evaluate_denoiser
    from t2a.evaluate.entropy import evaluate_entropy
    from t2a.evaluate.lm import evaluate_lm
    from t2a.evaluate.vocoder import evaluate_vocoder
    from t2a.models.vocoder import VOCODERS

    kinds = {
        "codec": partial(evaluate_codec, listened=listened, seed=seed),
        "lm": partial(evaluate_lm, generated=generated, judge=judge, seed=seed),
        "denoiser": partial(evaluate_denoiser, generated=generated, judge=judge, seed=seed),
        "entropy": evaluate_entropy,
        "clap": partial(evaluate_clap, seed=seed),
        "autoencoder": partial(evaluate_autoencoder, listened=listened, vocoder=vocoder, seed=seed),
        **dict.fromkeys(VOCODERS, partial(evaluate_vocoder, listened=listened, seed=seed)),
    }
    folder = locate(model)
    kind = read_config(folder).get("model_type")
    if kind not in kinds:
        raise ConfigError(f"{model} holds a {kind}, there are figures for: {', '.join(kinds)}.")
    if vocoder and kind != "autoencoder":
        raise ConfigError(f"An autoencoder is heard through a vocoder, {model} holds a {kind}: leave {vocoder} out.")
    if generated and kind not in ("lm", "denoiser"):
        raise ConfigError(f"{model} holds a {kind}, which generates nothing: ask for no captions.")
    return kinds[kind](folder, corpus, split, rows)
