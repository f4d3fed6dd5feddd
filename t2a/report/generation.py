"""The page of a model that generates: what captions are worth to it, and how what it makes sounds beside others."""

from itertools import groupby
from pathlib import Path

from t2a import __version__
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.steering import Made, Steering
from t2a.report import figures
from t2a.report.page import AudioCard, Cards, Figures, Measure, Note, Page, Section

BETTER = {
    "nats": "lower",
    "loss": "lower",
    "seconds_a_clip": "lower",
    "rank": "higher",
    "r@1": "higher",
    "r@5": "higher",
    "clap_gain": "higher",
}
UNITS = {"seconds_a_clip": "s"}


def write_generation_page(
    path: Path, evaluation: Evaluation, steering: Steering, model: str, corpus: str, split: str
) -> None:
    """Write the page, whole or not at all."""
    page = Page(
        title="What is heard of a caption",
        lead=f"t2a {__version__}: {model} on {corpus} ({split}). Every figure was measured in this run.",
        sections=[prediction(evaluation), steered(steering), sounds(steering)],
    )
    page.write(path)


def prediction(evaluation: Evaluation) -> Section:
    """The loss with the right caption, with another, without any."""
    intro = (
        "Of held-out clips: nats a code of a language model, or the loss of a diffusion model at fixed times; means "
        "over clips with 95 % intervals. Gains are taken within each clip."
    )
    return Section("Prediction", _figures(evaluation), intro)


def steered(steering: Steering) -> Section:
    """How a judge ranks the captions of what was generated."""
    conditions = steering.evaluation.conditions
    intro = (
        f"The judge {conditions['judge']} (weights {conditions['judge_sha256'][:12]}) hears, at "
        f"{conditions['judge_rate']} Hz, what was made of {conditions['clips']} {conditions['sample']} (split "
        f"{conditions['split']}, seed {conditions['seed']}), and ranks all captions; rank is the share of the wrong "
        "ones that it finds less fitting than the right one, 0.5 by chance. Lengths tell something too, so what hears "
        f"no text (guidance 0) is the baseline. Times are of batches, on {conditions['threads']} threads."
    )
    return Section("Steering", _figures(steering.evaluation), intro)


def sounds(steering: Steering) -> Section:
    """Every clip, one row a caption."""
    by_caption = sorted(steering.clips, key=lambda made: made.caption)  # stable: systems keep their order
    groups = [
        Cards([_card(made) for made in row], title=caption)
        for caption, row in groupby(by_caption, key=lambda made: made.caption)
    ]
    note = Note("Captions are drawn with a seed, and the first take of each is here; none was chosen by ear.")
    return Section("Sounds", [note, *groups])


def _card(made: Made) -> AudioCard:
    picture = figures.mel(made.wave, made.rate, width=260, height=120)
    return AudioCard(made.system, made.wave, made.rate, picture, f"rank {made.rank:.2f}", encoding="ogg")


def _figures(evaluation: Evaluation) -> list[Figures]:
    """One table of systems, and one of the differences between them."""
    rows = evaluation.by_system()
    values = {system: {m: Measure(*figure) for m, figure in row.items()} for system, row in rows.items()}
    gains = {system: row for system, row in values.items() if set(row) == {"gain"}}
    rest = {system: row for system, row in values.items() if system not in gains}
    return [Figures(rest, UNITS, BETTER), Figures(gains, caption="Differences within each clip")]
