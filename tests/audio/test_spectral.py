import warnings

import librosa
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from t2a.audio.spectral import MelSpec, MelSpectrogram, istft, stft


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 0.1


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", None])
def test_the_filterbank_is_that_of_librosa(scale, norm):
    spec = MelSpec(rate=22050, n_fft=1024, n_mels=80, fmin=30.0, fmax=9000.0, scale=scale, norm=norm)
    expected = librosa.filters.mel(
        sr=22050, n_fft=1024, n_mels=80, fmin=30, fmax=9000, htk=scale == "htk", norm=norm, dtype=np.float64
    )
    np.testing.assert_allclose(MelSpectrogram(spec).bank.T, expected, atol=2e-5 * expected.max())


@pytest.mark.parametrize("power", [1, 2])
def test_the_mel_spectrogram_is_that_of_librosa(power):
    wave = noise(2, 8000)
    spec = MelSpec(rate=16000, n_fft=512, win=400, hop=160, n_mels=40, power=power, log="none")
    expected = librosa.feature.melspectrogram(
        y=wave.numpy(), sr=16000, n_fft=512, win_length=400, hop_length=160, n_mels=40, power=power, pad_mode="reflect"
    )
    got = MelSpectrogram(spec)(wave)
    assert got.shape == (2, 40, 51)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)


def test_logarithms_have_a_floor():
    wave = noise(1, 4000)
    plain = MelSpectrogram(MelSpec(log="none"))(wave)
    for log, of in (("ln", torch.log), ("log10", torch.log10)):
        torch.testing.assert_close(MelSpectrogram(MelSpec(log=log, floor=1e-2))(wave), of(plain.clamp(min=1e-2)))
    assert MelSpectrogram(MelSpec(floor=1e-5))(torch.zeros(1, 4000)).unique().tolist() == [-5.0]


def test_the_transform_is_that_of_torch():
    wave, window = noise(3, 2, 3000), torch.hann_window(256)
    expected = torch.stft(wave.reshape(6, -1), 256, 64, 256, window, return_complex=True).reshape(3, 2, 129, -1)
    torch.testing.assert_close(stft(wave, 256, 64, window), expected)


def test_normalised_levels_do_not_depend_on_the_window_length():
    wave = noise(1, 64000)
    levels = [stft(wave, n, n // 4, torch.hann_window(n), normalised=True).abs().square().mean() for n in (128, 2048)]
    assert float(levels[0] / levels[1]) == pytest.approx(1.0, rel=0.05)
    assert float(levels[0]) == pytest.approx(float(wave.var()), rel=0.05)


def test_without_centring_there_is_a_frame_for_each_hop():
    spec = MelSpec(center=False, n_fft=1024, hop=256)
    assert MelSpectrogram(spec)(noise(1, 256 * 20)).shape[-1] == 20


@pytest.mark.parametrize("samples", [1, 100, 512, 513])
def test_very_short_waves_have_a_spectrum(samples):
    assert MelSpectrogram(MelSpec(n_fft=1024, hop=256))(noise(2, 1, samples)).isfinite().all()


def test_silence_has_a_gradient():
    wave = torch.zeros(1, 2000, requires_grad=True)
    MelSpectrogram(MelSpec(log="none"))(wave).sum().backward()
    assert wave.grad.isfinite().all()


def test_spectra_stay_in_float32_under_autocast():
    wave = noise(1, 4000)
    mel = MelSpectrogram(MelSpec())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = mel(wave)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, mel(wave))
    assert mel(wave.bfloat16()).dtype == torch.float32


def test_bands_narrower_than_a_bin_are_silent_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mel = MelSpectrogram(MelSpec(n_fft=32, hop=8, n_mels=64))
    assert (mel.bank.sum(0) == 0).any()


def test_nothing_of_it_enters_a_checkpoint():
    assert MelSpectrogram(MelSpec()).state_dict() == {}


@pytest.mark.parametrize("values", [{"win": 2048, "n_fft": 1024}, {"fmax": 9000.0}, {"fmin": 5000.0, "fmax": 4000.0}])
def test_impossible_recipes_are_refused(values):
    with pytest.raises(ValidationError):
        MelSpec(**values)


@pytest.mark.parametrize(("n_fft", "win", "hop"), [(256, 256, 64), (256, 200, 80), (64, 64, 32)])
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_the_inverse_transform_gives_the_wave_back(n_fft, win, hop, normalised, center):
    wave, window = noise(2, 3, 20 * hop), torch.hann_window(win)
    spectrum = stft(wave, n_fft, hop, window, normalised=normalised, center=center)
    back = istft(spectrum, hop, window, normalised=normalised, center=center)
    assert back.shape[-1] == spectrum.shape[-1] * hop
    torch.testing.assert_close(back[..., : 20 * hop], wave, atol=1e-5, rtol=1e-4)


def test_the_inverse_transform_of_any_spectrum_is_that_of_torch():
    random = torch.Generator().manual_seed(0)
    spectrum = torch.randn(2, 129, 12, dtype=torch.complex64, generator=random)
    window = torch.hann_window(256)
    expected = torch.istft(spectrum, 256, 64, 256, window)
    torch.testing.assert_close(istft(spectrum, 64, window)[:, : 11 * 64], expected, atol=1e-5, rtol=1e-4)


def test_frames_that_are_not_real_count_for_nothing():
    random, window = torch.Generator().manual_seed(0), torch.hann_window(256)
    spectrum = torch.randn(1, 129, 12, dtype=torch.complex64, generator=random)
    part = istft(spectrum, 64, window, real=torch.arange(12)[None] < 7)
    torch.testing.assert_close(part[:, : 7 * 64], istft(spectrum[..., :7], 64, window))
    assert not part[:, 7 * 64 + 128 :].any()


def test_recipes_are_told_apart_by_the_spectrogram_that_they_make():
    spec = MelSpec(rate=16000, n_fft=512, hop=128)
    assert not spec.differing(MelSpec(rate=16000, n_fft=512, hop=128, win=512, fmax=8000.0))
    assert spec.differing(MelSpec(rate=16000, n_fft=512, hop=160, log="ln")) == "hop 128 and 160, log log10 and ln"


def test_silence_lies_on_the_floor_however_low_that_is():
    mel = MelSpectrogram(MelSpec(norm=None, scale="htk", log="ln", floor=1e-7))(torch.zeros(1, 4000))
    torch.testing.assert_close(mel, torch.full_like(mel, 1e-7).log())
