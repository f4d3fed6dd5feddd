"""The demo's report: what was trained on what, how well it does beside its baselines, and how it sounds."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2a import __version__
from t2a.audio.io import decode
from t2a.evaluate.evaluation import Evaluation
from t2a.metrics.interval import Interval
from t2a.report import figures
from t2a.report.codec import at_own_rate, rate_distortion
from t2a.report.page import AudioCard, Cards, Facts, Figures, Measure, Note, Page, Plot, Recipe, Section, Table
from t2a.train.track import history

CODEC_BETTER = {"si_snr": "higher", "mel_distance": "lower", "stft_distance": "lower"}
CODEC_UNITS = {"si_snr": "dB", "mel_distance": "dB"}


def write_report(
    path: Path, facts: Mapping[str, Any], seconds: Mapping[str, float], recipes: Mapping[str, str]
) -> None:
    """Write the whole page to `path`."""
    page = Page(
        title="Text to audio, from real sounds to generated clips",
        lead=f"t2a {__version__}: one `make demo` on this machine. Every figure was measured in this run.",
        highlights=highlights(facts, seconds),
        sections=[
            listening(facts),
            codec(facts),
            language_model(facts),
            curves(facts),
            corpus(facts),
            Section(
                "Time and recipes",
                [
                    Plot("Time of each stage", figures.bars(dict(seconds), unit="s")),
                    *(Recipe(f"The recipe of the {name}", text) for name, text in recipes.items()),
                ],
            ),
        ],
    )
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page.html(), encoding="utf-8")
    temporary.replace(path)


def highlights(facts: Mapping[str, Any], seconds: Mapping[str, float]) -> dict[str, str]:
    found = facts["figures"]
    codec, lm = found["codec"], found["lm"]
    nats = f"{lm['nats/its caption']['mean']:.2f} ({lm['nats/unigram']['mean']:.2f})"
    gain = lm["gain/over shuffled captions"]
    return {
        "codec, mel distance (untrained, mu-law)": f"{codec['mel_distance/codec']['mean']:.1f} dB "
        f"({codec['mel_distance/untrained']['mean']:.1f}, {codec['mel_distance/mu-law']['mean']:.1f})",
        "language model, nats a code (unigram)": nats,
        "worth of the right caption, nats a code": f"{gain['mean']:.3f} [{gain['low']:.3f}, {gain['high']:.3f}]",
        "the whole demo": f"{sum(seconds.values()) / 60:.1f} min",
    }


def listening(facts: Mapping[str, Any]) -> Section:
    made = facts["clips"]["generated"]
    cards = [
        card(
            clip["prompt"],
            clip["file"],
            f"seed {clip['seed']}, {clip['seconds']:g} s, guidance {clip['guidance']:g}, {clip['took']:.1f} s to make",
        )
        for clip in made
    ]
    served = facts["served"]
    answer = card(served["prompt"], served["file"], f"POST /v1/audio/generations, answered in {served['took']:.1f} s")
    return Section(
        "Generated from text",
        [Cards(cards), Cards([answer], title="Asked for over HTTP")],
        "Eight prompts, one seed each, none chosen by ear. The models are small and trained for minutes.",
    )


def codec(facts: Mapping[str, Any]) -> Section:
    pairs = []
    for clip in facts["clips"]["reconstructed"]:
        pairs.append(card(clip["caption"], clip["original"], "original, held out"))
        words = f"decoded: SI-SNR {clip['si_snr']:.1f} dB, mel distance {clip['mel_distance']:.1f} dB"
        pairs.append(card(clip["caption"], clip["decoded"], words))
    found = facts["figures"]["codec"]
    table = Figures(
        {name: row for name, row in by_system(found).items() if at_own_rate(name)},
        CODEC_UNITS,
        CODEC_BETTER,
        "Held-out clips: mean and 95 % bootstrap interval. mu-law PCM is resampled down to the codec's bit rate.",
    )
    curves = rate_distortion(Evaluation({name: Interval(**figure) for name, figure in found.items()})).blocks
    return Section("The codec", [table, *curves, Cards(pairs, title="Originals and reconstructions")])


def language_model(facts: Mapping[str, Any]) -> Section:
    found = facts["figures"]["lm"]
    nats = {name: {"nats a code": measure} for name, measure in by_system(found, "nats").items()}
    gains = {name: {"gain, nats a code": measure} for name, measure in by_system(found, "gain").items()}
    return Section(
        "The language model",
        [
            Figures(nats, better={"nats a code": "lower"}, caption="Cross-entropy of held-out codes."),
            Figures(gains, caption="Differences within each clip; above 0 means that the model does better."),
        ],
        "Lower with its own caption than with another clip's caption: the text steers the sound.",
    )


def curves(facts: Mapping[str, Any]) -> Section:
    plots = []
    for name, title in (("codec", "codec"), ("lm", "language model")):
        found = history(facts[name]["mlflow_run"])
        # Left out: the figures of single codebooks (ce_1, ...), and perplexity, which is the cross-entropy again.
        told = {key: points for key, points in found.items() if not re.search(r"_\d+$|perplexity", key)}
        losses = {key: points for key, points in told.items() if key.startswith("loss/")}
        held_out = {key: points for key, points in told.items() if key.startswith("eval/")}
        plots.append(Plot(f"{title}: training losses", figures.curves(losses, log=name == "codec")))
        plots.append(Plot(f"{title}: held-out figures", figures.curves(held_out, smooth=0)))
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


def by_system(found: Mapping[str, Mapping[str, float]], only: str = "") -> dict[str, Any]:
    """{"metric/system": figure} -> {system: {metric: Measure}}, or {system: Measure} for one metric only."""
    systems: dict[str, Any] = {}
    for name, figure in found.items():
        metric, system = name.split("/", 1)
        measure = Measure(figure["mean"], figure["low"], figure["high"], int(figure["count"]))
        if not only:
            systems.setdefault(system, {})[metric] = measure
        elif metric == only:
            systems[system] = measure
    return systems


def card(title: str, file: str, caption: str) -> AudioCard:
    wave, rate = decode(file)
    return AudioCard(title, wave, rate, figures.mel(wave, rate), caption)
