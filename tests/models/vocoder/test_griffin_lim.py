import pytest
import torch

from t2a.audio.spectral import MelSpec, MelSpectrogram
from t2a.models.vocoder import GriffinLim

RATE, SAMPLES = 8000, 4096
SPEC = {"rate": RATE, "n_fft": 512, "hop": 128, "n_mels": 40}


def chord() -> torch.Tensor:
    time = torch.arange(SAMPLES) / RATE
    return sum(0.1 * torch.sin(2 * torch.pi * hertz * time) for hertz in (440, 1000, 2300))[None]


@pytest.mark.parametrize("log", ["ln", "log10", "none"])
@pytest.mark.parametrize(
    "changes", [{}, {"power": 2}, {"normalised": True}, {"win": 400, "norm": None, "scale": "htk"}]
)
def test_the_wave_has_the_spectrogram_that_it_is_made_of(log, changes):
    spec = MelSpec(**SPEC | {"log": log} | changes)
    wave, linear = chord(), MelSpectrogram(spec.model_copy(update={"log": "none"}))
    made = GriffinLim(spec)(MelSpectrogram(spec)(wave))
    expected, found = linear(wave), linear(made[:, 0, :SAMPLES])
    assert (found - expected).norm() < 0.25 * expected.norm()


def test_rounds_bring_the_phases_together():
    spec = MelSpec(**SPEC)
    mel = MelSpectrogram(spec)
    target = mel(chord())
    far, near = ((mel(GriffinLim(spec, rounds=n)(target)[:, 0, :SAMPLES]) - target).abs().mean() for n in (0, 32))
    assert near < 0.9 * far


def test_silence_is_silence():
    spec = MelSpec(**SPEC)
    assert GriffinLim(spec)(MelSpectrogram(spec)(torch.zeros(1, SAMPLES))).abs().max() < 1e-2
    plain = MelSpec(**SPEC, log="none")
    assert GriffinLim(plain)(torch.zeros(1, 40, 10)).abs().max() < 1e-6


def test_the_seed_decides_the_phases():
    spec = MelSpec(**SPEC)
    mel = MelSpectrogram(spec)(chord())
    first, same, other = (GriffinLim(spec, rounds=2, seed=seed)(mel) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.allclose(first, other, atol=1e-3)
