import math

import pytest
import torch
from pydantic import ValidationError

from t2a.audio.spectral import INVERSE, MelSpec, MelSpectrogram
from t2a.models.vocoder import Vocos, VocosConfig
from t2a.models.vocoder.vocos import Magnitudes

SMALL = {"mel": MelSpec(n_fft=64, hop=16, n_mels=8), "width": 8, "hidden": 16, "layers": 1}


def test_the_published_shape_has_its_13_and_a_half_million_parameters():
    model = Vocos(VocosConfig(mel=MelSpec(rate=24000, n_mels=100)))
    assert sum(p.numel() for p in model.parameters()) == 13_531_650


def test_a_magnitude_that_explodes_is_held_back_and_has_a_gradient():
    model = Vocos(VocosConfig(**SMALL))
    with torch.no_grad():
        model.head.bias[:] = 1000.0
    wave = model(torch.zeros(1, 8, 10))
    wave.square().sum().backward()
    assert wave.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_window_survives_a_cast_and_building_on_meta():
    with torch.device("meta"):
        model = Vocos(VocosConfig(**SMALL))
    assert torch.equal(model.bfloat16().inverse.window, torch.hann_window(64))


@pytest.mark.parametrize(
    "changes",
    [{}, {"log": "log10"}, {"log": "none"}, {"power": 2}, {"normalised": True}, {"power": 2, "normalised": True}],
)
def test_magnitudes_have_the_bands_that_they_are_made_of(changes):
    torch.manual_seed(0)
    spec = MelSpec(n_fft=256, hop=64, n_mels=20, floor=1e-9, **changes)
    spectrogram = MelSpectrogram(spec)
    wave = 0.1 * torch.randn(1, 4000)
    mel = spectrogram(wave)
    made = torch.exp(spec.power * Magnitudes(spec)(mel))
    made = made / (spectrogram.window.square().sum() ** (spec.power / 2) if spec.normalised else 1)
    wanted = INVERSE[spec.log](mel)
    assert ((spectrogram.bank.mT @ made - wanted).abs() / wanted).median() < 0.05


def test_a_tone_at_full_scale_is_not_cut():
    spec = MelSpec(log="ln")
    tone = torch.sin(2 * torch.pi * 1000 / 16000 * torch.arange(8000))[None]
    config = VocosConfig(mel=spec, width=8, hidden=16, layers=1, prior=True)
    assert Magnitudes(spec)(MelSpectrogram(spec)(tone)).max() > math.log(100)
    assert Vocos(config).inverse.loudest > Magnitudes(spec)(MelSpectrogram(spec)(tone)).max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": 6}, "take 7"),
        ({"n_fft": 24}, "take 32 or more"),
        ({"mel": MelSpec(n_fft=64, hop=48)}, "take 96 or more"),
        ({"prior": True, "n_fft": 128}, "leave n_fft 128 out"),
    ],
)
def test_impossible_shapes_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        VocosConfig(**SMALL | changes)
