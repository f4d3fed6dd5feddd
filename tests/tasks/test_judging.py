import pytest
import torch

from t2a.errors import ConfigError
from t2a.models.spectrogram_critic import SpectrogramCritic, SpectrogramCriticConfig
from t2a.tasks import judging
from t2a.tasks.judging import judge


def make() -> SpectrogramCritic:
    torch.manual_seed(0)
    settings = {"windows": [8, 16], "width": 4, "layers": 2, "patch": {"width": 4, "layers": 1}}
    return SpectrogramCritic(SpectrogramCriticConfig.model_validate(settings), 16)


def seen(r1: float = 0.0) -> tuple[judging.Judged, list[torch.Tensor]]:
    """What a critic says, and the gradients of its own loss."""
    critic, draw = make(), torch.Generator().manual_seed(0)
    mel, decoded = torch.randn(2, 3, 16, 24, generator=draw)
    torch.manual_seed(1)
    judged = judge(critic, mel, decoded.requires_grad_(), torch.tensor([24, 12, 20]), r1)
    judged.critic.backward()
    return judged, [parameter.grad for parameter in critic.parameters()]


def test_partitioned_critics_say_the_same(monkeypatch):
    together, gradients = seen()
    monkeypatch.setattr(judging, "partitioned", lambda net: True)
    apart, others = seen()
    torch.testing.assert_close(apart, together)
    torch.testing.assert_close(others, gradients)
    with pytest.raises(ConfigError, match=r"weights.r1 .* engine.zero 3 cannot: take zero 2"):
        seen(r1=1.0)


def test_the_penalty_is_part_of_the_critic_s_loss_alone():
    plain, _ = seen()
    held, gradients = seen(r1=4.0)
    torch.testing.assert_close(held.critic, plain.critic + 2 * held.logs["loss/r1"])
    torch.testing.assert_close(held.gradient, plain.gradient)
    assert all(gradient.isfinite().all() for gradient in gradients)
