import pytest
import torch

from t2a.audio.spectral import MelSpec, MelSpectrogram
from t2a.metrics.spectrogram import detail, spectrogram_distance


def mels(seed: int) -> torch.Tensor:
    return torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("log", ["ln", "log10"])
@pytest.mark.parametrize("power", [1, 2])
def test_half_the_amplitude_is_six_decibels(log, power):
    spec = MelSpec(rate=8000, n_fft=256, hop=64, n_mels=8, log=log, power=power, floor=1e-9)
    wave = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    mel, half = (MelSpectrogram(spec)(x) for x in (wave, wave / 2))
    distance = spectrogram_distance(half, mel, torch.full((2,), mel.shape[-1]), spec.decibels)
    assert distance.tolist() == pytest.approx([6.02, 6.02], abs=0.01)


def test_what_fills_a_row_up_does_not_count():
    length = torch.tensor([8, 3, 1])
    a, b = mels(0), mels(1)
    for row, n in enumerate(length):
        cut = [x[row : row + 1, :, :n] for x in (a, b)]
        for measure in (lambda x, y, n: spectrogram_distance(x, y, n, 2.0), detail):
            assert measure(a, b, length)[row].item() == pytest.approx(measure(*cut, length[row : row + 1]).item())
    assert detail(a, b, length)[2] == 1  # a single frame does not change


def test_detail_is_lost_by_blurring():
    mel, length = mels(0), torch.full((3,), 8)
    assert detail(mel, mel, length).tolist() == [1, 1, 1]
    assert (detail(mel / 2, mel, length) < 0.51).all()
    still = mel.mean(-1, keepdim=True).expand_as(mel)
    assert (detail(still, mel, length) < 0.01).all()
