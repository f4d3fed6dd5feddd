"""The page of a model that generates: what captions are worth to it, and how what it makes sounds beside others."""

from itertools import groupby
from pathlib import Path

from t2a import __version__
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.parts import Parts
from t2a.evaluate.steering import Made, Steering
from t2a.models.pretrained import locate
from t2a.report import autoencoder, clap, figures, vocoder
from t2a.report.measured import Better, compared, conditions, measures
from t2a.report.page import AudioCard, Cards, Note, Page, Section

BETTER: Better = {
    "nats": "lower",
    "loss": "lower",
    "seconds_a_clip": "lower",
    "rank": "higher",
    "r@1": "higher",
    "r@5": "higher",
    "clap_gain": "higher",
}
NO_VOCODER = "No vocoder lies beside this denoiser: Griffin-Lim takes its place, which sounds metallic."


def write_generation_page(
    path: Path,
    evaluation: Evaluation,
    steering: Steering,
    model: str,
    corpus: str,
    split: str,
    parts: Parts | None = None,
) -> None:
    """Write the page, whole or not at all; the sections about the model's `parts` hear some of their clips again."""
    page = Page(
        title="What is heard of a caption",
        lead=f"t2a {__version__}: {model} on {corpus} ({split}). Every figure was measured in this run.",
        sections=[
            prediction(evaluation),
            *(around(parts, model, steering.evaluation.conditions["judge"], split) if parts else []),
            steered(steering),
            sounds(steering),
        ],
    )
    page.write(path)


def prediction(evaluation: Evaluation) -> Section:
    """The loss with the right caption, with another, without any."""
    intro = (
        "Of held-out clips: nats a code of a language model, or the loss of a diffusion model at fixed times; means "
        "over clips with 95 % intervals. Gains are taken within each clip."
    )
    return Section("Prediction", [*compared(measures(evaluation), better=BETTER), *conditions(evaluation)], intro)


def around(parts: Parts, model: str, judge: str, split: str) -> list[Section]:
    """What the pages of the judge, of the autoencoder and of the vocoder tell of them."""
    intro = (
        f"How well {judge} finds the captions, sounds and categories of {parts.originals} ({split}), of which the "
        "model's corpus was made: what it cannot tell apart here it cannot judge in generated clips either. Means over "
        "clips or captions with 95 % intervals."
    )
    sections = [Section("The judge", clap.tables(parts.judge), intro)]
    if parts.autoencoder:
        beside = vocoder.tables(parts.vocoder) if parts.vocoder else [Note(NO_VOCODER, warning=True)]
        copies = autoencoder.sounds(parts.autoencoder, locate(model) / "autoencoder", parts.originals, split)
        intro = (
            f"What the autoencoder and the vocoder alone, without any generation, leave of the clips of "
            f"{parts.originals} ({split}): generated ones cannot be expected to sound better. Means over clips with "
            "95 % intervals; the clips to hear are drawn with a seed, none was chosen by ear."
        )
        blocks = [*autoencoder.tables(parts.autoencoder), *beside, *copies]
        sections.append(Section("Autoencoder and vocoder", blocks, intro))
    return sections


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
    return Section("Steering", compared(measures(steering.evaluation), better=BETTER), intro)


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
