"""Which models there is a page about."""

from pathlib import Path

from t2a.errors import ConfigError
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.parts import Parts
from t2a.evaluate.steering import Steering
from t2a.models.pretrained import locate, read_config
from t2a.models.vocoder import VOCODERS
from t2a.report.autoencoder import write_autoencoder_page
from t2a.report.clap import write_clap_page
from t2a.report.codec import write_codec_page
from t2a.report.generation import write_generation_page
from t2a.report.vocoder import write_vocoder_page

PAGES = {
    "codec": write_codec_page,
    "clap": write_clap_page,
    "autoencoder": write_autoencoder_page,
    **dict.fromkeys(VOCODERS, write_vocoder_page),
}
JUDGED = ("lm", "denoiser")  # what a judge has to hear, and whose page holds what it heard


def check_page(model: str, judge: str | None, report: bool) -> None:
    """Raise `ConfigError`, before any work, for a model that cannot be judged, or that there is no page about."""
    kind = read_config(locate(model)).get("model_type")
    if judge is not None and kind not in JUDGED:
        made = f"what an {' or a '.join(JUDGED)} makes"
        raise ConfigError(f"{model} holds a {kind}, the judge hears {made}: leave --judge out.")
    if report and kind not in (*PAGES, *JUDGED):
        known = ", ".join((*PAGES, *JUDGED))
        raise ConfigError(f"{model} holds a {kind}, a report is made of one of {known}: leave --report out.")
    if report and kind in JUDGED and judge is None:
        raise ConfigError(f"The report of a {kind} holds clips and how a judge ranks them: give --judge CLAP.")


def write_page(
    path: Path,
    evaluation: Evaluation,
    steering: Steering | None,
    model: str,
    corpus: str,
    split: str,
    parts: Parts | None = None,
) -> None:
    """Write the page of a model of `PAGES`, or that of one that generates, which the judge has heard.

    `parts` are the models around one that generates, where they were measured too.
    """
    if steering is None:
        PAGES[read_config(locate(model))["model_type"]](path, evaluation, model, corpus, split)
    else:
        write_generation_page(path, evaluation, steering, model, corpus, split, parts)
