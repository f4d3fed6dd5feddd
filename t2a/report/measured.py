"""What the pages of all models show of an evaluation: figures, the conditions they hold under, and copies of clips."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from t2a.audio.spectral import MelSpec, MelSpectrogram
from t2a.data.skips import Skips
from t2a.evaluate.autoencoder import wave_figures
from t2a.evaluate.clips import sample
from t2a.evaluate.evaluation import SPEEDS, UNITS, Evaluation, is_difference
from t2a.metrics.coders import Wave
from t2a.report import figures
from t2a.report.page import AudioCard, Block, Cards, Facts, Figures, Measure, Note

Better = Mapping[str, Literal["higher", "lower"]]
BETTER: Better = {
    "si_snr": "higher", "mel_distance": "lower", "stft_distance": "lower", "phase_distance": "lower",
    "spectrogram_distance": "lower",
    "visqol": "higher", "pesq": "higher", "stoi": "higher",
}  # fmt: skip
SOUNDS, SOUND_SECONDS = 3, 5.0


def measures(evaluation: Evaluation) -> dict[str, dict[str, Measure]]:
    """Return {system: {metric: measure}}."""
    return {system: {m: Measure(*f) for m, f in row.items()} for system, row in evaluation.by_system().items()}


def compared(rows: Mapping[str, Mapping[str, Measure]], caption: str = "", better: Better = BETTER) -> list[Block]:
    """One table of systems, and one of the differences between them where there are any."""
    gains = {system: row for system, row in rows.items() if is_difference(system)}
    systems = {system: row for system, row in rows.items() if system not in gains}
    tables: list[Block] = [Figures(systems, UNITS, better, caption)]
    return tables + [Figures(gains, UNITS, caption="Differences within each clip.")] * bool(gains)


def conditions(evaluation: Evaluation) -> list[Block]:
    """Show clips, latents, speed, and what was skipped and left out, as far as the evaluation tells of them."""
    told = evaluation.conditions
    facts = {name: told[name] for name in ("split", "clips", "sample", "generated") if name in told}
    if latents := told.get("latents"):
        shape, (low, high) = " x ".join(map(str, latents["shape"])), latents["std"]
        facts["latents"] = f"{latents['frame_rate']:g} frames a second of {shape}"
        facts["channels of latents"] = f"means within {latents['mean']:.2g} of 0, deviations {low:.2g} to {high:.2g}"
    if "vocoder" in told:
        facts["heard through"] = told["vocoder"] or "Griffin-Lim"
    if speed := told.get("speed"):
        measured = {verb: told for verb, told in SPEEDS.items() if verb in speed}
        facts |= {f"{told}, x real time on {speed['threads']} threads": speed[verb] for verb, told in measured.items()}
    blocks: list[Block] = [Facts(facts)] if facts else []
    blocks += [Note(f"Skipped, {reason}: {count} clips.") for reason, count in told.get("skipped", {}).items()]
    return blocks + [Note(f"Left out, {metric}: {why}.") for metric, why in told.get("left_out", {}).items()]


@torch.inference_mode()
def copies(
    systems: Mapping[str, Callable[[Tensor], Tensor]], spec: MelSpec, corpus: str, split: str, seed: int
) -> list[Block]:
    """A few held-out clips, each beside the waves [1, 1, T] that systems make of its spectrogram [1, M, L]."""
    spectrogram, groups = MelSpectrogram(spec), []
    shape = {"rate": spec.rate, "channels": 1, "longest": SOUND_SECONDS}
    for clip in sample(corpus, split, SOUNDS, seed, skips=Skips(), **shape):
        wave = torch.from_numpy(clip.wave)[None]
        cards = [card("original", clip.wave, spec.rate, "held out")]
        for name, system in systems.items():
            made = system(spectrogram(wave[:, 0]))[..., : wave.shape[-1]]
            lost = wave_figures(made, wave, spec.rate, listens=False)["mel_distance"]
            cards.append(card(name, made[0].numpy(), spec.rate, f"mel distance {lost:.1f} dB"))
        groups.append(Cards(cards, title=clip.captions[0] if clip.captions else clip.id))
    return groups


def card(name: str, wave: Wave, rate: int, caption: str) -> AudioCard:
    """A wave [C, T] with its mel spectrogram."""
    return AudioCard(name, wave, rate, figures.mel(wave, rate), caption)
