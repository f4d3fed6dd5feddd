"""The page of a vocoder: how near it comes to the waves behind spectrograms, beside Griffin-Lim."""

from pathlib import Path

from t2a import __version__
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.vocoder import systems
from t2a.models.vocoder import load_vocoder
from t2a.report.figures import short
from t2a.report.measured import compared, conditions, copies, measures
from t2a.report.page import Block, Page, Section

HEARD = ("vocoder", "griffin-lim")


def write_vocoder_page(path: Path, evaluation: Evaluation, model: str, corpus: str, split: str) -> None:
    """Write the page, whole or not at all; it hears some of the clips again."""
    page = Page(
        title="What the vocoder makes of spectrograms",
        lead=f"t2a {__version__}: {model} on {corpus} ({split}). Every figure was measured in this run.",
        highlights=_highlights(evaluation),
        sections=[
            Section("Figures", tables(evaluation), "Means over held-out clips with 95 % intervals."),
            Section("Sounds", sounds(evaluation, model, corpus, split), "Clips drawn with a seed, none chosen by ear."),
        ],
    )
    page.write(path)


def tables(evaluation: Evaluation) -> list[Block]:
    """All figures, of the vocoder and of what stands beside it."""
    tables = compared(measures(evaluation), "Waves that are made of the clips' own spectrograms.")
    return [*tables, *conditions(evaluation)]


def sounds(evaluation: Evaluation, model: str | Path, corpus: str, split: str) -> list[Block]:
    """A few clips: the original, and what the vocoder and Griffin-Lim make of its spectrogram."""
    vocoder = load_vocoder(model)
    heard = {name: system for name, system in systems(vocoder).items() if name in HEARD}
    return copies(heard, vocoder.mel_spec, corpus, split, evaluation.conditions["seed"])


def _highlights(evaluation: Evaluation) -> dict[str, str]:
    rows = evaluation.by_system()
    own, other = (rows[name] for name in HEARD)
    found = {
        "mel distance (Griffin-Lim)": f"{own['mel_distance'].mean:.1f} dB ({other['mel_distance'].mean:.1f})",
        "x real time": short(evaluation.conditions["speed"]["vocode"]),
    }
    if "visqol" in own and "visqol" in other:
        found["ViSQOL (Griffin-Lim)"] = f"{own['visqol'].mean:.2f} ({other['visqol'].mean:.2f})"
    return found
