import pytest
import torch

from t2a.models.discriminators import Critic, CriticConfig
from t2a.models.spectral_discriminators import ResolutionsConfig

SMALL = CriticConfig(ffts=(256, 64), filters=4, dilations=(1, 2))

BANDS = CriticConfig(ffts=(), resolutions=ResolutionsConfig(ffts=(256,), filters=4))


def test_the_published_size_comes_out():
    with torch.device("meta"):
        assert sum(p.numel() for p in Critic(CriticConfig()).parameters()) == 472_330


def test_each_scale_gives_logits_and_the_features_of_its_layers():
    torch.manual_seed(0)
    wave = torch.randn(3, 2, 1024)
    verdict = Critic(SMALL, channels=2)(wave)
    # 1 + (1024 - n) / (n / 4) frames; n / 2 + 1 frequencies, halved twice
    assert [x.shape for x in verdict.logits] == [(3, 1, 13, 33), (3, 1, 61, 9)]
    assert [len(layers) for layers in verdict.features] == [4, 4]
    assert verdict.features[0][0].shape == (3, 4, 13, 129)


def test_a_split_verdict_is_that_of_the_halves_alone():
    critic, (a, b) = Critic(SMALL), torch.randn(2, 2, 1, 512)
    first, second = critic(torch.cat([a, b])).split(2)
    for verdict, wave in ((first, a), (second, b)):
        alone = critic(wave)
        torch.testing.assert_close(verdict.logits, alone.logits)
        torch.testing.assert_close(verdict.features, alone.features)


def test_the_spectrum_is_scaled_by_the_window_s_norm():
    critic = Critic(SMALL).discriminators[0]
    spectrum = critic.spectrum(torch.randn(4, 1, 16000, generator=torch.Generator().manual_seed(0)))
    # White noise of variance 1 has variance 1 in every bin, half of it in each part.
    assert spectrum[..., 1:-1].var().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("config", [SMALL, BANDS])
def test_a_critic_cast_to_bfloat16_takes_the_spectrum_in_float32(config):
    wave = torch.randn(1, 1, 1024, generator=torch.Generator().manual_seed(0))
    exact = Critic(config).discriminators[0].spectrum(wave)
    assert torch.equal(Critic(config).bfloat16().discriminators[0].spectrum(wave), exact.bfloat16())


def test_a_clip_shorter_than_the_window_is_an_error():
    with pytest.raises(ValueError, match="200 samples are shorter than the critic's window of 256"):
        Critic(SMALL)(torch.randn(1, 1, 200))
