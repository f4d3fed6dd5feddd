"""The page of an autoencoder: what is left of spectrograms, and what is heard of them through a vocoder."""

from pathlib import Path

from t2a import __version__
from t2a.evaluate.autoencoder import heard
from t2a.evaluate.evaluation import UNITS, Evaluation
from t2a.models.autoencoder import Autoencoder
from t2a.report.figures import short
from t2a.report.measured import BETTER, compared, conditions, copies, measures
from t2a.report.page import Block, Figures, Page, Section

COPY = "autoencoder through"  # how the name of what is heard of the copy begins


def write_autoencoder_page(path: Path, evaluation: Evaluation, model: str, corpus: str, split: str) -> None:
    """Write the page, whole or not at all; it hears some of the clips again."""
    page = Page(
        title="What the autoencoder keeps",
        lead=f"t2a {__version__}: {model} on {corpus} ({split}). Every figure was measured in this run.",
        highlights=_highlights(evaluation),
        sections=[
            Section("Figures", tables(evaluation), "Means over held-out clips with 95 % intervals."),
            Section("Sounds", sounds(evaluation, model, corpus, split), "Clips drawn with a seed, none chosen by ear."),
        ],
    )
    page.write(path)


def tables(evaluation: Evaluation) -> list[Block]:
    """Figures of spectrograms, and of the waves that are made of them."""
    rows = measures(evaluation)
    waves = {name: row for name, row in rows.items() if "mel_distance" in row}
    spectrograms = {name: row for name, row in rows.items() if name not in waves}
    return [
        Figures(
            spectrograms, UNITS, BETTER,
            "Spectrograms. detail: how much they change from frame to frame for what the original does, at best 1.",
        ),
        *compared(waves, "Waves: what is heard of spectrograms as they are, and after the autoencoder."),
        *conditions(evaluation),
    ]  # fmt: skip


def sounds(evaluation: Evaluation, model: str | Path, corpus: str, split: str) -> list[Block]:
    """A few clips: the original, its spectrogram made a wave, and the same after the autoencoder."""
    autoencoder, told = Autoencoder.from_pretrained(model), evaluation.conditions
    return copies(heard(autoencoder, told["vocoder"]), autoencoder.config.mel, corpus, split, told["seed"])


def _highlights(evaluation: Evaluation) -> dict[str, str]:
    rows, told = evaluation.by_system(), evaluation.conditions
    own, flat = rows["autoencoder"], rows["mean frame"]["spectrogram_distance"]
    through = next(name for name in rows if name.startswith(COPY))
    lost, least = (rows[name]["mel_distance"].mean for name in (through, through.replace("autoencoder", "original", 1)))
    shape, speed = " x ".join(map(str, told["latents"]["shape"])), told["speed"]
    return {
        "latents a second": f"{told['latents']['frame_rate']:g} of {shape}",
        "spectrogram distance (mean frame)": f"{own['spectrogram_distance'].mean:.1f} dB ({flat.mean:.1f})",
        "detail": f"{own['detail'].mean:.2f}",
        f"mel distance {through.removeprefix('autoencoder ')} (original)": f"{lost:.1f} dB ({least:.1f})",
        "encode / decode, x real time": f"{short(speed['encode'])} / {short(speed['decode'])}",
    }
