"""Vocos' multi-resolution discriminator: the package's own forward pass, loudness, and that it learns."""

import pytest
import torch
from pydantic import ValidationError

from t2a.audio import torchaudio_backend  # noqa: F401  makes torchaudio importable for the package
from t2a.losses.adversarial import critic_loss
from t2a.models.discriminators import Critic, CriticConfig
from t2a.models.spectral_discriminators import ResolutionsConfig


def critic(channels: int = 1, **settings) -> Critic:
    torch.manual_seed(0)
    return Critic(CriticConfig(ffts=(), resolutions=ResolutionsConfig.model_validate(settings)), channels)


def test_logits_and_features_are_those_of_the_vocos_package():
    from vocos.discriminators import DiscriminatorR

    ours = critic(ffts=(256,), filters=8)
    theirs = DiscriminatorR(256, channels=8)
    state = ours.discriminators[0].state_dict()
    window = {"spec_fn.window": theirs.spec_fn.window}
    theirs.load_state_dict({name.replace("stacks.", "band_convs."): value for name, value in state.items()} | window)
    wave = 0.1 * torch.randn(2, 1, 4000)
    verdict = ours(wave)
    logits, features = theirs(wave[:, 0])
    torch.testing.assert_close(verdict.logits[0], logits, atol=1e-5, rtol=1e-4)
    # It leaves out the first layer of each band and counts the logits as a feature.
    kept = [x for place, x in enumerate(verdict.features[0]) if place % 5]
    assert len(kept) == 20
    torch.testing.assert_close(kept, features[:-1], atol=1e-5, rtol=1e-4)


def test_it_does_not_hear_how_loud_a_clip_is():
    wave = torch.randn(2, 2, 2000)
    judge = critic(2, ffts=(256, 64), filters=4)
    torch.testing.assert_close(judge(0.01 * wave + 0.5).logits, judge(wave).logits, atol=1e-3, rtol=1e-3)
    assert all(x.isfinite().all() for x in judge(torch.zeros(1, 2, 2000)).logits)


def test_it_learns_to_tell_noise_from_tones():
    judge = critic(ffts=(128,), filters=8)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3, betas=(0.8, 0.99))
    draw, losses = torch.Generator().manual_seed(1), []
    for _ in range(30):
        time = torch.arange(1024) / 16000
        tones = 0.5 * torch.sin(2 * torch.pi * (200 + 2000 * torch.rand(8, 1, 1, generator=draw)) * time)
        noise = 0.35 * torch.randn(8, 1, 1024, generator=draw)
        loss = critic_loss(judge(tones).logits, judge(noise).logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(2, abs=0.5)
    assert sum(losses[-5:]) / 5 < 0.7


def test_the_names_of_other_critics_stay():
    alone = Critic(CriticConfig(ffts=(256,), filters=4))
    together = Critic(CriticConfig(ffts=(256,), filters=4, resolutions=ResolutionsConfig(ffts=(64,), filters=4)))
    assert set(alone.state_dict()) < set(together.state_dict())
    assert len(together(torch.randn(1, 1, 512)).logits) == 2


@pytest.mark.parametrize("edges", [(0.5, 0.25), (0.1, 1.0), (0.001,)])
def test_bands_without_bins_are_refused(edges):
    with pytest.raises(ValidationError, match="must ascend between 0 and 1 and leave bins"):
        ResolutionsConfig(ffts=(256,), edges=edges)
