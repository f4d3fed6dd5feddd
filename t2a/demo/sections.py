"""The sections of the demo's report that tell of a model: its figures beside baselines, and how it sounds."""

from collections.abc import Mapping
from typing import Any

from t2a.audio.io import decode
from t2a.demo.trainings import TRAININGS
from t2a.evaluate.evaluation import Evaluation
from t2a.metrics.interval import Interval
from t2a.report import figures
from t2a.report.codec import at_own_rate, rate_distortion
from t2a.report.page import AudioCard, Cards, Figures, Measure, Section

BETTER = {
    "si_snr": "higher", "mel_distance": "lower", "stft_distance": "lower", "spectrogram_distance": "lower",
    "visqol": "higher",
}  # fmt: skip
UNITS = {"si_snr": "dB", "mel_distance": "dB", "spectrogram_distance": "dB"}
THROUGH = " through "  # in the name of a system that is heard through a vocoder
SOUNDS = 4  # clips of which the autoencoder's section holds copies


def listening(facts: Mapping[str, Any]) -> Section:
    """What each model made of the same prompts, side by side."""
    made = facts["generate"]["generated"]
    rows = []
    for row in made:
        clips = row["clips"].items()
        cards = [card(name_of(model), clip["file"], f"{clip['took']:.2f} s to make") for model, clip in clips]
        rows.append(Cards(cards, title=row["prompt"]))
    served = facts["serve"]
    answer = card(served["prompt"], served["file"], f"POST /v1/audio/generations, answered in {served['took']:.1f} s")
    how = f"{made[0]['seconds']:.3g} s each, guidance {made[0]['guidance']:g}, all prompts of a model in one batch"
    return Section(
        "Generated from text",
        [*rows, Cards([answer], title=f"The {name_of('lm')}, asked for over HTTP")],
        f"A language model, which writes the codec's codes one after the other, beside a diffusion model, whose "
        f"denoiser makes all of the autoencoder's latents at once. {how}; seeds 0 to {len(made) - 1}, none chosen by "
        "ear. The models are small and trained for minutes.",
    )


def codec(facts: Mapping[str, Any]) -> Section:
    """The codec beside mu-law, Opus and MP3."""
    pairs = []
    for clip in facts["generate"]["reconstructed"]:
        copy = clip["copies"]["codec"]
        words = f"decoded: SI-SNR {copy['si_snr']:.1f} dB, mel distance {copy['mel_distance']:.1f} dB"
        pairs.append(card(clip["caption"], clip["original"], "original, held out"))
        pairs.append(card(clip["caption"], copy["file"], words))
    found = facts["evaluate"]["codec"]
    table = Figures(
        {name: row for name, row in by_system(found).items() if at_own_rate(name)},
        UNITS,
        BETTER,
        "Held-out clips: mean and 95 % bootstrap interval. mu-law PCM is resampled down to the codec's bit rate.",
    )
    curves = rate_distortion(Evaluation({name: Interval(**figure) for name, figure in found.items()})).blocks
    return Section("The codec", [table, *curves, Cards(pairs, title="Originals and reconstructions")])


def autoencoder(facts: Mapping[str, Any]) -> Section:
    """The autoencoder's spectrograms, the vocoder's waves, and what is heard of both together."""
    found = by_system(facts["evaluate"]["autoencoder"])
    spectrograms = {name: row for name, row in found.items() if THROUGH not in name}
    heard = {name: row for name, row in found.items() if THROUGH in name}
    groups = []
    for clip in facts["generate"]["reconstructed"][:SOUNDS]:
        alone, both = (clip["copies"][name] for name in ("vocoder", "autoencoder"))
        cards = [
            card("original", clip["original"], "held out"),
            card("vocoder", alone["file"], f"of its spectrogram: mel distance {alone['mel_distance']:.1f} dB"),
            card("autoencoder and vocoder", both["file"], f"mel distance {both['mel_distance']:.1f} dB"),
        ]
        groups.append(Cards(cards, title=clip["caption"]))
    return Section(
        "The autoencoder and the vocoder",
        [
            Figures(
                spectrograms, UNITS, BETTER, "Spectrograms. detail: what is left of their change from frame to frame."
            ),
            Figures(by_system(facts["evaluate"]["vocoder"]), UNITS, BETTER, "Waves made of the clips' spectrograms."),
            Figures(heard, UNITS, caption="Waves: what the vocoder makes of spectrograms before and after."),
            *groups,
        ],
        "The autoencoder turns a spectrogram into latents and back, the vocoder a spectrogram into a wave. Held-out "
        "clips: mean and 95 % bootstrap interval.",
    )


def language_model(facts: Mapping[str, Any]) -> Section:
    """What the right caption is worth to the language model."""
    return prediction("The language model", facts["evaluate"]["lm"], "nats", "nats a code", "codes")


def denoiser(facts: Mapping[str, Any]) -> Section:
    """And to the denoiser."""
    return prediction("The denoiser", facts["evaluate"]["denoiser"], "loss", "loss", "latents, at fixed times")


def prediction(title: str, found: Mapping[str, Any], metric: str, unit: str, of: str) -> Section:
    """The loss, called `metric`, with its caption, another's and none, and the differences."""
    losses = {name: {unit: measure} for name, measure in by_system(found, metric).items()}
    gains = {name: {"gain": measure} for name, measure in by_system(found, "gain").items()}
    return Section(
        title,
        [
            Figures(losses, better={unit: "lower"}, caption=f"Loss of held-out {of}: mean and 95 % interval."),
            Figures(gains, caption="Differences within each clip; above 0 means that the model does better."),
        ],
        "The text steers the sound where the loss is lower with a clip's own caption than with another's.",
    )


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


def name_of(model: str) -> str:
    """What a model that makes clips is called on the page."""
    return {"denoiser": "diffusion model"}.get(model, TRAININGS[model].title)


def card(title: str, file: str, caption: str) -> AudioCard:
    wave, rate = decode(file)
    return AudioCard(title, wave, rate, figures.mel(wave, rate), caption)
