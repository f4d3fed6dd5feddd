import librosa
import numpy as np
import pytest
import torch

from t2a.audio.chroma import ChromaSpec, chromagram, leading


def tune(rate: int, notes: list[int], seconds: float = 1.0) -> np.ndarray:
    """Midi notes one after another, each with four overtones."""
    time = np.arange(int(seconds * rate)) / rate
    pitches = [440 * 2 ** ((note - 69) / 12) for note in notes]
    return np.concatenate([sum(np.sin(2 * np.pi * f * k * time) / k for k in range(1, 6)) for f in pitches])


@pytest.mark.parametrize(("rate", "window", "bins"), [(32000, 2**14, 12), (16000, 2**11, 12), (22050, 2**12, 24)])
def test_it_is_librosa_s_chromagram(rate, window, bins):
    random = np.random.default_rng(0)
    wave = tune(rate, [60, 64, 67, 61]) + 0.1 * random.standard_normal(4 * rate)
    theirs = librosa.feature.chroma_stft(
        y=wave, sr=rate, n_fft=window, hop_length=window // 4, tuning=0.0, n_chroma=bins, pad_mode="reflect"
    )
    ours = chromagram(torch.from_numpy(wave), ChromaSpec(sample_rate=rate, window=window, bins=bins)).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_leading_class_of_a_tune_is_its_note():
    notes = [60, 64, 67, 61, 69, 59]
    spec = ChromaSpec()
    best = leading(chromagram(torch.from_numpy(tune(32000, notes)), spec))
    assert torch.equal(best.sum(0), torch.ones(best.shape[1]))
    for second, note in enumerate(notes):
        frame = round((second + 0.5) * spec.frame_rate)
        assert best[:, frame].argmax() == note % 12


def test_loudness_changes_nothing_and_silence_has_no_chroma():
    wave = torch.from_numpy(tune(32000, [62, 65])).float()
    torch.testing.assert_close(chromagram(wave * 0.01, ChromaSpec()), chromagram(wave, ChromaSpec()), atol=1e-4, rtol=0)
    silence = chromagram(torch.zeros(2, 1, 32000), ChromaSpec())
    assert silence.shape == (2, 1, 12, 1 + 32000 // 4096)
    assert not silence.any()
    assert (leading(silence).argmax(-2) == 0).all()


def test_a_wave_shorter_than_the_window_has_a_frame():
    assert chromagram(torch.randn(1, 100), ChromaSpec()).shape == (1, 12, 1)
