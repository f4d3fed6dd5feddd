import librosa
import numpy as np
import pytest
import torch
from torchmetrics.functional.audio import scale_invariant_signal_noise_ratio

from t2a.metrics.signal import mel_distance, phase_distance, si_snr, stft_distance


@pytest.fixture
def pair():
    torch.manual_seed(0)
    target = torch.randn(3, 1, 4000)
    return target + torch.tensor([0.1, 1, 3])[:, None, None] * torch.randn(3, 1, 4000), target


def test_si_snr_is_the_published_one(pair):
    estimate, target = pair
    expected = scale_invariant_signal_noise_ratio(estimate[:, 0], target[:, 0])
    torch.testing.assert_close(si_snr(estimate, target), expected, rtol=1e-4, atol=1e-3)


def test_si_snr_ignores_scale_and_offset_and_is_bounded(pair):
    estimate, target = pair
    torch.testing.assert_close(si_snr(3 * estimate + 1, target), si_snr(estimate, target), rtol=1e-3, atol=1e-2)
    assert si_snr(target, target).tolist() == [80, 80, 80]
    assert torch.isfinite(si_snr(torch.zeros_like(target), target)).all()
    assert torch.isfinite(si_snr(estimate, torch.zeros_like(target))).all()


def test_silence_in_the_place_of_sound_is_worse_than_any_sound(pair):
    estimate, target = pair
    assert si_snr(torch.zeros_like(target), target).tolist() == [-80, -80, -80]
    assert si_snr(torch.full_like(target, 0.3), target).tolist() == [-80, -80, -80]
    assert (si_snr(torch.randn_like(target), target) > -80).all()
    distances = [mel_distance(wave, target, 16000) for wave in (torch.zeros_like(target), estimate)]
    assert (distances[0] > 4 * distances[1]).all()


def test_half_the_level_is_six_decibels():
    target = torch.randn(2, 2, 8000)
    assert mel_distance(target / 2, target, 16000).tolist() == pytest.approx([6.02, 6.02], abs=0.05)


def test_phase_distance_of_unrelated_noise_is_one_radian_and_of_a_quieter_inverted_copy_nothing():
    torch.manual_seed(0)
    target = torch.randn(2, 1, 16000)
    assert phase_distance(torch.randn(2, 1, 16000), target).tolist() == pytest.approx([1.03] * 2, abs=0.02)
    assert phase_distance(-0.5 * target, target).tolist() == pytest.approx([0, 0], abs=1e-3)


def test_phase_distance_hears_where_in_a_frame_a_click_is_and_stft_distance_does_not():
    click, later = torch.zeros(1, 1, 4096), torch.zeros(1, 1, 4096)
    click[..., 2048], later[..., 2058] = 1, 1  # by 10 samples: 2 pi 10 / n_fft from bin to bin
    told = phase_distance(later, click).item()
    shifts = [2 * torch.pi * 10 / n_fft for n_fft in (256, 512, 1024, 2048)]
    assert told == pytest.approx(sum(shifts) / 8, rel=0.05)  # half of it: from frame to frame nothing has changed
    assert stft_distance(later, click) < stft_distance(torch.randn_like(click), click) / 5


@pytest.mark.parametrize("distance", [lambda a, b: mel_distance(a, b, 16000), stft_distance, phase_distance])
def test_distances_grow_with_the_noise_row_by_row(pair, distance):
    estimate, target = pair
    values = distance(estimate, target).tolist()
    assert 0 < values[0] < values[1] < values[2]
    assert distance(target, target).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert distance(estimate[1:2], target[1:2]).item() == pytest.approx(values[1], rel=1e-5)
    assert torch.isfinite(distance(torch.zeros(1, 1, 50), torch.randn(1, 1, 50))).all()


def by_librosa(wave: np.ndarray, n_fft: int) -> np.ndarray:
    """Magnitudes [F, L] of an STFT divided by its window's norm."""
    norm = np.sqrt(np.sum(librosa.filters.get_window("hann", n_fft) ** 2))
    return np.abs(librosa.stft(wave, n_fft=n_fft, hop_length=n_fft // 4, pad_mode="reflect")) / norm


@pytest.mark.parametrize("channels", [1, 2])
def test_multi_resolution_distances_are_those_of_librosa_s_spectra(channels):
    torch.manual_seed(0)
    target = 0.3 * torch.randn(1, channels, 8000).cumsum(-1).sin()
    estimate = target + 0.05 * torch.randn(1, channels, 8000)
    of_mel, of_stft = [], []
    for n_fft in (256, 512, 1024, 2048):
        a, b = (np.stack([by_librosa(row, n_fft) for row in x[0].numpy()]) for x in (estimate, target))
        logs = np.abs(np.log(np.maximum(a, 1e-5)) - np.log(np.maximum(b, 1e-5)))
        of_stft.append(np.linalg.norm(a - b) / np.linalg.norm(b) + logs.mean())
        bank = librosa.filters.mel(sr=16000, n_fft=n_fft, n_mels=min(64, n_fft // 8), htk=True, norm=None)
        c, d = (20 * np.log10(np.maximum(bank @ x, 1e-5)) for x in (a, b))
        of_mel.append(np.abs(c - d).mean())
    assert mel_distance(estimate, target, 16000).item() == pytest.approx(np.mean(of_mel), rel=1e-4)
    assert stft_distance(estimate, target).item() == pytest.approx(np.mean(of_stft), rel=1e-4)
