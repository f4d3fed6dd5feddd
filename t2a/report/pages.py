"""Which models there is a page about."""

from pathlib import Path

from t2a.errors import ConfigError
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.steering import Steering
from t2a.models.pretrained import locate, read_config
from t2a.report.clap import write_clap_page
from t2a.report.codec import write_codec_page
from t2a.report.lm import write_lm_page

PAGES = {"codec": write_codec_page, "clap": write_clap_page}


def check_page(model: str, judge: str | None, report: bool) -> None:
    """Raise `ConfigError`, before any work, for a model that cannot be judged, or that there is no page about."""
    kind = read_config(locate(model)).get("model_type")
    if judge is not None and kind != "lm":
        raise ConfigError(f"{model} holds a {kind}, the judge hears what an lm makes: leave --judge out.")
    if report and kind not in (*PAGES, "lm"):
        known = ", ".join((*PAGES, "lm"))
        raise ConfigError(f"{model} holds a {kind}, a report is made of one of {known}: leave --report out.")
    if report and kind == "lm" and judge is None:
        raise ConfigError("The report of a language model holds clips and how a judge ranks them: give --judge CLAP.")


def write_page(
    path: Path, evaluation: Evaluation, steering: Steering | None, model: str, corpus: str, split: str
) -> None:
    """Write the page of a model of `PAGES`, or that of a language model, which the judge has heard."""
    if steering is None:
        PAGES[read_config(locate(model))["model_type"]](path, evaluation, model, corpus, split)
    else:
        write_lm_page(path, evaluation, steering, model, corpus, split)
