import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from t2a.models.denoiser import DenoiserConfig
from t2a.models.unet import UNet, UNetConfig
from t2a.nn.condition import Condition
from tests.models.test_denoiser import awake

SIZES = {"width": 8, "multipliers": (1, 2, 2), "blocks": 1, "heads": 2, "context": 6, "groups": 4}


def build(**changes) -> UNet:
    return awake(UNet(UNetConfig(**SIZES | changes), (3, 4)))


def a_text(rows: int = 1) -> Condition:
    return Condition(torch.randn(rows, 3, 6), torch.ones(rows, 3, dtype=torch.bool))


def run(model: UNet, x: Tensor, text: Condition, real: Tensor | None = None) -> Tensor:
    length = torch.full((len(x),), x.shape[-1])
    return model(x, torch.full((len(x),), 30.0), length, real, model.read(text))


@pytest.mark.parametrize("frames", [1, 2, 3, 6, 7, 8])
@torch.no_grad()
def test_latents_of_any_length_are_filled_up_to_the_factor_as_silence_and_cut_again(frames):
    model, text, x = build(), a_text(), torch.randn(1, 3, 4, frames)
    y = run(model, x, text)
    assert y.shape == x.shape
    filled = torch.cat([x, torch.zeros(1, 3, 4, -frames % 4 + 4)], dim=-1)
    real = torch.arange(filled.shape[-1])[None] < frames
    torch.testing.assert_close(run(model, filled, text, real)[..., :frames], y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("told", ["cross", "film"])
@torch.no_grad()
def test_what_it_is_told_reaches_it_either_way_and_levels_without_attention_have_none(told):
    model, text, x = build(told=told, attention=(False, True, False)), a_text(), torch.randn(1, 3, 4, 8)
    assert [steps[0].attention is not None for steps in model.down] == [False, True, False]
    assert [steps[0].attention is not None for steps in model.up] == [False, True, False]
    assert (run(model, x, a_text()) - run(model, x, text)).abs().max() > 1e-3
    real = torch.tensor([[True] * 5 + [False] * 3])
    x[..., 5:] = 0
    torch.testing.assert_close(run(model, x, text, real)[..., :5], run(model, x[..., :5], text), atol=1e-5, rtol=1e-5)


def test_checkpointed_activations_give_the_same_gradients_and_are_kept_no_longer():
    x, text, found, kept = torch.randn(2, 3, 4, 8), a_text(2), {}, []
    for again in (False, True):
        model, held = build(checkpoint_activations=again, depth=2).train(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, held=held: held.append(x.numel()) or x, lambda x: x):
            loss = run(model, x, text).square().mean()
        kept.append(sum(held))
        loss.backward()
        found[again] = {name: p.grad for name, p in model.named_parameters()}
    for name, gradient in found[False].items():
        torch.testing.assert_close(found[True][name], gradient)
    assert kept[1] < kept[0] / 2


def test_it_begins_by_predicting_zero_and_learns_from_the_first_step():
    torch.manual_seed(0)
    model, text, x = UNet(UNetConfig(**SIZES), (3, 4)), a_text(), torch.randn(1, 3, 4, 8)
    y = run(model, x, text)
    assert not y.any()
    (y - 1).square().mean().backward()
    assert model.outward.weight.grad.abs().sum() > 0


def test_sizes_that_do_not_fit_are_refused_with_the_numbers():
    for latent in ((3,), (3, 6)):
        with pytest.raises(ValueError, match=r"F a multiple of 4, not .*: choose a dit"):
            UNet(UNetConfig(**SIZES), latent)
        with pytest.raises(ValidationError, match="choose a dit"):  # before anything is built
            DenoiserConfig(latent=latent, max_frames=8, network=UNetConfig(**SIZES))
    with pytest.raises(ValidationError, match="width 8 must be a multiple of heads = 3"):
        UNetConfig(**SIZES | {"heads": 3})
    with pytest.raises(ValidationError, match="attention has 1 entries for 3 levels"):
        UNetConfig(**SIZES | {"attention": (True,)})
