import pytest
import torch

from t2a.losses.adversarial import CONTESTS, critic_loss, feature_loss, generator_loss


def test_the_critic_pays_for_what_is_on_the_wrong_side_of_its_margin():
    real, fake = [torch.tensor([2.0, 0.0]), torch.tensor([-1.0])], [torch.tensor([-3.0, 1.0]), torch.tensor([0.5])]
    # critic 1: (0 + 1) / 2 + (0 + 2) / 2; critic 2: 2 + 1.5
    assert critic_loss(real, fake).item() == pytest.approx((1.5 + 3.5) / 2)


def test_the_generator_pays_until_the_critic_is_fooled():
    assert generator_loss([torch.tensor([2.0, 0.0]), torch.tensor([-1.0])]).item() == pytest.approx((0.5 + 2) / 2)


def test_features_are_compared_relative_to_the_real_ones_clip_by_clip():
    real = [[torch.tensor([[1.0, -1.0], [10.0, 10.0]])]]
    fake = [[torch.tensor([[1.5, -1.0], [10.0, 20.0]])]]
    assert feature_loss(real, fake).item() == pytest.approx((0.25 + 0.5) / 2)
    scaled = [[[7 * x for x in layers] for layers in features] for features in (real, fake)]
    assert feature_loss(*scaled).item() == pytest.approx(feature_loss(real, fake).item())


def test_clips_without_weight_say_nothing_of_features():
    real, fake = torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([[1.5, -1.0], [0.1, 0.1]], requires_grad=True)
    loss = feature_loss([[real]], [[fake]], torch.tensor([1.0, 0.0]))
    loss.backward()
    assert loss.item() == pytest.approx(0.25 / 2)
    assert fake.grad[1].tolist() == [0, 0]


def test_only_the_decoded_features_get_a_gradient():
    real, fake = torch.randn(2, 5, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    feature_loss([[real]], [[fake]]).backward()
    assert real.grad is None
    assert fake.grad.abs().sum() > 0


def test_squares_pay_for_the_distance_from_what_is_asked():
    contest = CONTESTS["lsgan"]
    real, fake = [torch.tensor([2.0, 0.0]), torch.tensor([-1.0])], [torch.tensor([-3.0, 1.0]), torch.tensor([0.5])]
    assert contest.critic(real, fake).item() == pytest.approx(((1 + 5) + (4 + 0.25)) / 2)
    assert contest.generator(fake).item() == pytest.approx((8 + 0.25) / 2)
