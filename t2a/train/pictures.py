"""Pictures of sounds for the tracker."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from t2a.audio.spectral import MelSpec, MelSpectrogram


def mel_picture(wave: np.ndarray, rate: int, file: Path) -> None:
    """Write a PNG of the log-mel spectrogram of a wave [C, T], channels averaged. Works in any thread."""
    spec = MelSpec(rate=rate, n_fft=1024, hop=256, n_mels=80)
    mel = MelSpectrogram(spec)(torch.from_numpy(wave).mean(0))
    figure = Figure(figsize=(8, 3), layout="constrained")  # without pyplot, whose state belongs to the main thread
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    seconds = wave.shape[1] / rate
    image = axes.imshow(mel.numpy(), origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, spec.n_mels))
    axes.set(xlabel="seconds", ylabel="mel band")
    figure.colorbar(image, ax=axes, label="log10 magnitude")
    figure.savefig(file, dpi=100)
