import librosa
import numpy as np
import pytest
import torch

from t2a.losses.spectral import MelLoss, MelLossConfig

RATE = 16000


def by_hand(decoded: np.ndarray, wave: np.ndarray, config: MelLossConfig) -> float:
    """The equation in numpy and librosa, clip by clip."""
    distances = []
    for n_fft in config.windows:
        bank = librosa.filters.mel(sr=RATE, n_fft=n_fft, n_mels=config.mels, htk=True, norm=None)
        scale = np.sqrt(np.sum(librosa.filters.get_window("hann", n_fft) ** 2))

        def mel(x, n_fft=n_fft, bank=bank, scale=scale):
            z = librosa.stft(x, n_fft=n_fft, hop_length=n_fft // 4, pad_mode="reflect") / scale
            s = bank @ np.abs(z)
            return np.log(np.maximum(s, config.floor)) if config.log else s

        difference = mel(decoded) - mel(wave)
        distances.append(np.abs(difference).mean() + config.alpha * np.sqrt((difference**2).mean()))
    return float(np.mean(distances))


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize(
    "config",
    [MelLossConfig(), MelLossConfig(windows=(256, 1024), mels=40, alpha=0.5), MelLossConfig(log=True, floor=1e-3)],
    ids=["encodec", "small", "log"],
)
def test_the_loss_is_the_equation(config):
    torch.manual_seed(0)
    wave, decoded = 0.3 * torch.randn(2, 3, 1, 8000).cumsum(-1).sin()
    loss = MelLoss(RATE, config)(decoded, wave)
    expected = np.mean([by_hand(d[0].numpy(), w[0].numpy(), config) for d, w in zip(decoded, wave, strict=True)])
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_equal_waves_and_silence_have_finite_gradients():
    loss = MelLoss(RATE, MelLossConfig(windows=(64, 512)))
    for wave in (torch.zeros(1, 1, 4000), torch.randn(1, 1, 4000)):
        decoded = wave.clone().requires_grad_()
        value = loss(decoded, wave)
        value.backward()
        assert value.item() < 1e-4
        assert torch.isfinite(decoded.grad).all()


def test_the_loss_of_a_batch_is_the_mean_of_its_clips():
    loss = MelLoss(RATE, MelLossConfig(windows=(64, 512)))
    wave, decoded = torch.randn(2, 4, 1, 4000) * torch.tensor([0.01, 0.1, 1, 3])[:, None, None]
    alone = [loss(decoded[i : i + 1], wave[i : i + 1]).item() for i in range(4)]
    assert loss(decoded, wave).item() == pytest.approx(np.mean(alone), rel=1e-5)
