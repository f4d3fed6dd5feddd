"""The demo's report: what was trained on what, how well it does beside its baselines, and how it sounds."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2a import __version__
from t2a.demo import sections
from t2a.demo.trainings import TRAININGS
from t2a.report import figures
from t2a.report.page import Cards, Facts, Note, Page, Plot, Recipe, Section, Table
from t2a.train.track import history

LOG_LOSSES = {"codec", "autoencoder", "vocoder"}  # trainings whose losses lie decades apart
HELD_OUT = {
    "codec": ("dB", ("si_snr", "mel_distance")),
    "lm": ("nats a code", ("ce", "ce_shuffled", "ce_null")),
    "autoencoder": ("spectrogram distance, dB", ("spectrogram_distance",)),
    "vocoder": ("mel distance, dB", ("mel_distance",)),
    "denoiser": ("loss", ("loss", "loss_shuffled", "loss_null")),
}  # figures that share an axis, and what it is called; the others lie in MLflow


def write_report(
    path: Path, facts: Mapping[str, Any], seconds: Mapping[str, float], recipes: Mapping[str, str]
) -> None:
    """Write the whole page to `path`. facts and seconds: by stage; recipes: by training."""
    page = Page(
        title="Text to audio, from real sounds to generated clips",
        lead=f"t2a {__version__}: one `make demo` on this machine. Every figure was measured in this run.",
        highlights=highlights(facts, seconds),
        sections=[
            sections.listening(facts),
            sections.codec(facts),
            sections.language_model(facts),
            sections.autoencoder(facts),
            sections.denoiser(facts),
            curves(facts),
            corpus(facts),
            Section(
                "Time and recipes",
                [
                    Plot("Time of each stage", figures.bars(dict(seconds), unit="s")),
                    *(Recipe(f"The recipe of the {TRAININGS[name].title}", text) for name, text in recipes.items()),
                ],
            ),
        ],
    )
    page.write(path)


def highlights(facts: Mapping[str, Any], seconds: Mapping[str, float]) -> dict[str, str]:
    """The figures that stand at the top."""
    codec, lm, autoencoder, denoiser = (facts["evaluate"][name] for name in ("codec", "lm", "autoencoder", "denoiser"))
    heard = sections.by_system(autoencoder, "mel_distance")
    both, alone = (next(heard[s] for s in heard if s.startswith(what)) for what in ("autoencoder", "original"))
    return {
        "codec, mel distance (untrained, mu-law)": f"{codec['mel_distance/codec']['mean']:.1f} dB "
        f"({codec['mel_distance/untrained']['mean']:.1f}, {codec['mel_distance/mu-law']['mean']:.1f})",
        "autoencoder and vocoder, mel distance (vocoder alone)": f"{both.mean:.1f} dB ({alone.mean:.1f})",
        "language model, nats a code (unigram)": f"{lm['nats/its caption']['mean']:.2f} "
        f"({lm['nats/unigram']['mean']:.2f})",
        "worth of the right caption, nats a code": gained(lm),
        "worth of the right caption, loss of the denoiser": gained(denoiser),
        "the whole demo": f"{sum(seconds.values()) / 60:.1f} min",
    }


def gained(found: Mapping[str, Any]) -> str:
    """What the right caption gains over another's, with its interval."""
    gain = found["gain/over shuffled captions"]
    return f"{gain['mean']:.3f} [{gain['low']:.3f}, {gain['high']:.3f}]"


def curves(facts: Mapping[str, Any]) -> Section:
    """Losses and held-out figures of every training, as MLflow has them."""
    plots = []
    for name, training in TRAININGS.items():
        found = history(facts[name]["mlflow_run"])
        # Left out: the losses of single codebooks (ce_1, ...), and perplexity, which is the cross-entropy again.
        told = {key: points for key, points in found.items() if not re.search(r"_\d+$|perplexity", key)}
        losses = {key: points for key, points in told.items() if key.startswith("loss/")}
        unit, metrics = HELD_OUT[name]
        held_out = {metric: found[key] for metric in metrics if (key := f"eval/{metric}") in found}
        plots += [
            Plot(f"{training.title}: training losses", figures.curves(losses, log=name in LOG_LOSSES)),
            Plot(f"{training.title}: held out", figures.curves(held_out, smooth=0, y=unit)),
        ]
    return Section("Curves", [Cards(plots)])


def corpus(facts: Mapping[str, Any]) -> Section:
    found = facts["corpus"]
    rows = [[split, int(s["clips"]), round(s["hours"], 3)] for split, s in found["splits"].items()]
    blocks: list[Any] = [Table(["split", "clips", "hours"], rows)]
    if found.get("categories"):
        blocks.append(Plot("Minutes of each category", figures.bars(found["categories"], unit="min")))
    skipped = found["skipped"] or {"none": 0}
    blocks.append(Facts({f"skipped: {reason}": count for reason, count in skipped.items()}))
    if found.get("licences"):
        blocks.append(Table(["licence", "clips"], [[k, v] for k, v in found["licences"].items()]))
    if found["why"]:
        blocks.insert(0, Note(found["why"], warning=True))
    return Section("The corpus", blocks, f"Source: {found['source']}.")
