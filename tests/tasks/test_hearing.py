"""What a critic tells of clips."""

import pytest
import torch

from t2a.models.discriminators import Critic, CriticConfig
from t2a.models.spectral_discriminators import ResolutionsConfig
from t2a.tasks.hearing import hear

BANDS = ResolutionsConfig(ffts=(64,), filters=4)
CRITICS = {"stft": CriticConfig(ffts=(64,), filters=4), "bands": CriticConfig(ffts=(), resolutions=BANDS)}


@pytest.mark.parametrize("kind", CRITICS)
def test_a_silent_clip_does_not_take_over_what_is_learned_of_features(kind):
    torch.manual_seed(0)
    wave = 0.3 * torch.randn(2, 1, 512)
    wave[1] = 0
    decoded = (wave + 1e-4 * torch.randn(2, 1, 512)).requires_grad_()
    heard = hear(Critic(CRITICS[kind]), wave, decoded, ("adv", "feat"))
    silent, loud = heard.gradients["feat"][1].norm(), heard.gradients["feat"][0].norm()
    assert silent == 0 < loud
    assert all(loss.isfinite() for loss in heard.losses.values())
