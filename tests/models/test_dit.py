import pytest
import torch
from torch import Tensor

from t2a.models.dit import DiT, DiTConfig
from t2a.nn.condition import Condition
from tests.models.test_denoiser import awake

SIZES = {"width": 16, "layers": 2, "heads": 2}


def a_text(rows: int = 1) -> Condition:
    return Condition(torch.randn(rows, 3, 16), torch.ones(rows, 3, dtype=torch.bool))


def run(model: DiT, x: Tensor, text: Condition, length: int | None = None) -> Tensor:
    lengths = torch.full((len(x),), length or x.shape[-1])
    return model(x, torch.full((len(x),), 30.0), lengths, None, model.read(text))


@torch.no_grad()
def test_the_duration_matters():
    model, x, text = awake(DiT(DiTConfig(**SIZES), (3,))), torch.randn(1, 3, 6), a_text()
    assert (run(model, x, text, 5) - run(model, x, text, 6)).abs().max() > 1e-4


@torch.no_grad()
def test_frames_know_their_order_and_look_both_ways():
    model, x, text = awake(DiT(DiTConfig(**SIZES), (3,))), torch.randn(1, 3, 6), a_text()
    y = run(model, x, text)
    assert (run(model, x.flip(-1), text).flip(-1) - y).abs().max() > 1e-3
    for changed, seen in ((0, 5), (5, 0)):
        other = x.clone()
        other[..., changed] += 1
        assert (run(model, other, text) - y)[..., seen].abs().max() > 1e-4


def test_it_begins_by_predicting_zero_with_blocks_that_change_nothing():
    torch.manual_seed(0)
    model, text, x = DiT(DiTConfig(**SIZES), (3,)), a_text(), torch.randn(1, 3, 6)
    blocks = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, given, out: blocks.append(torch.equal(given[0], out)))
    y = run(model, x, text)
    assert not y.any()
    assert blocks == [True, True]
    (y - 1).square().mean().backward()
    assert model.outward.bias.grad.abs().sum() > 0


def test_checkpointed_activations_give_the_same_gradients_and_are_kept_no_longer():
    x, text, found, kept = torch.randn(2, 3, 6), a_text(2), {}, []
    for again in (False, True):
        model = awake(DiT(DiTConfig(**SIZES | {"layers": 3}, checkpoint_activations=again), (3,))).train()
        held = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, held=held: held.append(x.numel()) or x, lambda x: x):
            loss = run(model, x, text).square().mean()
        kept.append(sum(held))
        loss.backward()
        found[again] = {name: p.grad for name, p in model.named_parameters()}
    for name, gradient in found[False].items():
        torch.testing.assert_close(found[True][name], gradient)
    assert kept[1] < kept[0] / 2


@pytest.mark.parametrize("heads", [3])
def test_sizes_that_do_not_fit_are_refused_with_the_numbers(heads):
    with pytest.raises(ValueError, match="multiple of 2 \\* heads = 6"):
        DiTConfig(width=16, heads=heads)
