import pytest
import torch
from torch import nn

from t2a.losses.balancer import Balancer, output_gradients, surrogate, weighted

WEIGHTS = {"a": 1.0, "b": 3.0}


def losses(output: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"a": 1000 * output.square().mean(), "b": 0.01 * (output - 1).abs().mean()}


def test_the_surrogate_trains_like_plain_autograd_through_balanced_losses():
    torch.manual_seed(0)
    network, balancer = nn.Conv1d(1, 1, 5, padding=2).double(), Balancer(WEIGHTS, total=2.0, decay=0.9)
    norms = {name: [] for name in WEIGHTS}
    for _ in range(4):
        x = torch.randn(3, 1, 50, dtype=torch.float64)
        network.zero_grad()
        output = network(x)
        leaf = output.detach().requires_grad_()
        gradient, _ = balancer(output_gradients(losses(leaf), leaf))
        surrogate(output, gradient.double()).backward()
        ours = [p.grad.clone() for p in network.parameters()]

        # By hand: each loss times share * total / (average norm of a clip's gradient).
        output = network(x)
        total = 0
        for name, loss in losses(output).items():
            (per_clip,) = torch.autograd.grad(loss * len(x), output, retain_graph=True)
            norms[name].append(per_clip.flatten(1).norm(dim=1).mean().item())
            age = [0.9**i for i in range(len(norms[name]))][::-1]
            average = sum(a * n for a, n in zip(age, norms[name], strict=True)) / sum(age)
            total = total + loss * WEIGHTS[name] / 4 * 2.0 / average
        expected = torch.autograd.grad(total, list(network.parameters()))
        torch.testing.assert_close(ours, list(expected), rtol=1e-5, atol=1e-5)


def test_the_scale_of_a_loss_makes_no_difference():
    output = torch.randn(2, 1, 20, requires_grad=True)
    once, _ = Balancer(WEIGHTS)(output_gradients(losses(output), output))
    scaled = {name: 100 * loss for name, loss in losses(output).items()}
    again, _ = Balancer(WEIGHTS)(output_gradients(scaled, output))
    torch.testing.assert_close(once, again)


def test_an_absent_loss_leaves_its_share_to_the_others():
    output = torch.randn(2, 1, 20, requires_grad=True)
    gradient, norms = Balancer(WEIGHTS)(output_gradients({"b": losses(output)["b"]}, output))
    assert set(norms) == {"b"}
    assert (gradient * 2).flatten(1).norm(dim=1).mean().item() == pytest.approx(1, rel=1e-4)


def test_a_vanishing_gradient_stays_finite():
    output = torch.zeros(2, 1, 20, requires_grad=True)
    gradient, _ = Balancer({"a": 1.0})({"a": torch.zeros_like(output)})
    assert torch.equal(gradient, torch.zeros_like(output))


def test_its_averages_are_saved_and_stay_in_float32():
    balancer = Balancer(WEIGHTS)
    balancer(dict.fromkeys(WEIGHTS, torch.ones(2, 1, 9)))
    again = Balancer(WEIGHTS).bfloat16()
    again.load_state_dict(balancer.state_dict())
    assert torch.equal(again.norm, balancer.norm)
    assert again.norm.dtype == torch.float32


def test_without_a_balancer_losses_are_weighted_as_they_are():
    output = torch.randn(2, 1, 20, requires_grad=True)
    gradient = weighted(output_gradients(losses(output), output), WEIGHTS)
    (expected,) = torch.autograd.grad(sum(WEIGHTS[n] * loss for n, loss in losses(output).items()), output)
    torch.testing.assert_close(gradient, expected)
