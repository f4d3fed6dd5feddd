import pytest
import torch

from t2a.losses.adversarial import gradient_penalty, weighed_critic_loss, weighed_generator_loss
from t2a.models.spectrogram_critic import (
    Opinion,
    PatchConfig,
    PatchDiscriminator,
    SpectrogramCritic,
    SpectrogramCriticConfig,
    excerpt,
)

SMALL = {"windows": [8, 16], "width": 4, "layers": 2}
PATCH = {"windows": [], "patch": {"width": 8, "layers": 2}}


def make(**changes) -> SpectrogramCritic:
    torch.manual_seed(0)
    return SpectrogramCritic(SpectrogramCriticConfig.model_validate(SMALL | changes), 16)


def mels(rows: int, frames: int) -> torch.Tensor:
    return torch.randn(rows, 16, frames, generator=torch.Generator().manual_seed(0))


def test_windows_lie_within_the_clips_and_everywhere_in_them():
    critic, length = make(), torch.tensor([8, 20, 7, 40]).repeat(500)
    starts = critic.draw(length).view(500, 4, 2)
    assert starts.amin(0).tolist() == [[0, -1], [0, 0], [-1, -1], [0, 0]]
    assert starts.amax(0).tolist() == [[0, -1], [12, 4], [-1, -1], [32, 24]]


def test_recorded_and_decoded_are_seen_in_the_same_windows():
    critic, mel = make(), mels(3, 30)
    seen = []
    for window in critic.windows:
        window.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    starts = torch.tensor([[0, 3], [5, 14], [22, 1]])
    critic(mel, torch.full((3,), 30), starts)
    for window, (size, begins) in zip(seen, [(8, (0, 5, 22)), (16, (3, 14, 1))], strict=True):
        assert torch.equal(window, torch.stack([mel[i, :, b : b + size] for i, b in enumerate(begins)]))
    assert torch.equal(excerpt(mel, starts[:, 0], 8), seen[0])


@pytest.mark.parametrize("changes", [{}, PATCH, {"patch": PATCH["patch"]}])
def test_what_fills_a_clip_up_is_not_judged(changes):
    critic, mel, length = make(**changes), mels(3, 40), torch.tensor([40, 18, 25])
    starts = torch.tensor([[0, 3], [9, 2], [17, 0]])[:, : len(critic.windows)]
    other = mel.clone()
    other[1, :, 18:], other[2, :, 25:] = 100, -100
    first, second = critic(mel, length, starts), critic(other, length, starts)
    torch.testing.assert_close(weighed_generator_loss(*first), weighed_generator_loss(*second))
    for row, n in enumerate(length):  # each clip has its own opinion, whatever is beside it
        alone = critic(mel[row : row + 1, :, :n], length[row : row + 1], starts[row : row + 1])
        own = Opinion([x[row : row + 1] for x in first.logits], [x[row : row + 1] for x in first.weights])
        torch.testing.assert_close(weighed_generator_loss(*alone), weighed_generator_loss(*own))


def test_every_clip_has_one_voice_whatever_can_judge_it():
    critic = make(patch=PATCH["patch"])
    length = torch.tensor([40, 12, 5])
    opinion = critic(mels(3, 40), length, critic.draw(length))
    voices = torch.stack([weight.flatten(1).sum(1) for weight in opinion.weights])
    torch.testing.assert_close(voices.sum(0), torch.tensor([1.0, 1.0, 0.0]))
    assert voices[:, 0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert voices[:, 1].tolist() == pytest.approx([1 / 2, 0, 1 / 2])


def test_the_losses_are_the_hinge_and_its_generator():
    real, fake = [torch.tensor([[2.0], [0.5]])], [torch.tensor([[-0.25], [-3.0]])]
    weights = [torch.tensor([[1.0], [0.5]])]
    assert weighed_critic_loss(real, fake, weights).item() == pytest.approx((0.75 + 0.5 * 0.5) / 2)
    assert weighed_generator_loss(fake, weights).item() == pytest.approx((0.25 + 1.5) / 2)


def test_the_penalty_is_the_squared_gradient_and_can_be_followed_back():
    mel = mels(2, 5).requires_grad_()
    slope = torch.tensor(3.0, requires_grad=True)
    penalty = gradient_penalty([slope * mel.sum((1, 2))[:, None]], [torch.ones(2, 1)], mel)
    assert penalty.item() == pytest.approx(9 * 16 * 5)
    penalty.backward()
    assert slope.grad.item() == pytest.approx(2 * 3 * 16 * 5)


@pytest.mark.parametrize("width", [7, 36])
def test_a_patch_critic_may_have_any_width(width):
    judge = PatchDiscriminator(PatchConfig(width=width, layers=3))
    assert judge(torch.randn(1, 64, 64), torch.tensor([64]))[0].isfinite().all()


def test_batches_shorter_than_a_window_are_refused():
    critic, length = make(), torch.tensor([12])
    with pytest.raises(ValueError, match=r"12 frames are shorter than the critic's window of 16"):
        critic(mels(1, 12), length, critic.draw(length))
