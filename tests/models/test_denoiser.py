from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from t2a.diffusion.process import DiffusionConfig, FlowConfig
from t2a.models.denoiser import ConditionConfig, Denoiser, DenoiserConfig
from t2a.models.dit import DiTConfig
from t2a.models.unet import UNetConfig
from t2a.nn.condition import Condition

DIT = DiTConfig(width=16, layers=2, heads=2)
UNET = UNetConfig(width=8, multipliers=(1, 2, 2), blocks=1, heads=2, context=6, groups=4)
NETWORKS = {"dit": (DIT, (3,)), "dit over 2-D latents": (DIT, (3, 4)), "unet": (UNET, (3, 4))}
SEVERAL = {"text": ConditionConfig(width=6, dropout=0.3), "image": ConditionConfig(width=5, dropout=0.6)}


def awake(model: nn.Module) -> nn.Module:
    """Give every weight a value: those that begin at zero hide what the others do."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def build(kind: str = "dit", **changes) -> Denoiser:
    network, latent = NETWORKS[kind]
    given = {"latent": latent, "max_frames": 20, "network": network, "conditions": {"text": SEVERAL["text"]}}
    return awake(Denoiser(DenoiserConfig(**given | changes)))


def latents(model: Denoiser, rows: int, frames: int) -> Tensor:
    return torch.randn(rows, *model.config.latent, frames)


def a_text(*lengths: int, width: int = 6) -> Condition:
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return Condition(torch.randn(len(lengths), max(lengths), width), mask)


every_network = pytest.mark.parametrize("kind", NETWORKS)


@every_network
@pytest.mark.parametrize("filling", [0.0, 100.0, torch.nan])
@torch.no_grad()
def test_a_row_depends_neither_on_its_batch_mates_nor_on_what_fills_it_up(kind, filling):
    model, t = build(kind), torch.tensor([10.0, 800.0, 3.0])
    x, text, length = latents(model, 3, 11), a_text(2, 7, 1), torch.tensor([5, 11, 1])
    alone = []
    for row, (n, s) in enumerate([(5, 2), (11, 7), (1, 1)]):
        i = slice(row, row + 1)
        alone.append(model(x[i, ..., :n], t[i], None, {"text": Condition(text.tokens[i, :s], text.mask[i, :s])}))
    real = torch.arange(11) < length.view(3, *[1] * (x.ndim - 1))
    told = {"text": Condition(text.tokens.masked_fill(~text.mask[..., None], filling), text.mask)}
    together = model(torch.where(real, x, filling), t, length, told)
    assert together.shape == x.shape
    for i, n in enumerate(length.tolist()):
        torch.testing.assert_close(together[i : i + 1, ..., :n], alone[i], atol=1e-5, rtol=1e-5)
    assert not together[~real.expand_as(together)].any()


@every_network
@torch.no_grad()
def test_the_latents_the_time_and_the_text_matter_everywhere(kind):
    model = build(kind)
    x, t, text = latents(model, 1, 7), torch.tensor([10.0]), a_text(3)
    y = model(x, t, None, {"text": text})
    changed = x.clone()
    changed[..., 6] += 1
    for other in (
        model(changed, t, None, {"text": text}),
        model(x, t + 1, None, {"text": text}),
        model(x, t, None, {"text": a_text(3)}),
    ):
        assert (other - y).abs().amax(1).min() > 1e-4


@every_network
@torch.no_grad()
def test_conditions_read_once_serve_every_step(kind):
    model = build(kind, conditions=SEVERAL)
    x, told = latents(model, 2, 5), {"text": a_text(3, 2), "image": a_text(1, 1, width=5)}
    context = model.read(told, 2)
    for t in (torch.tensor([900.0, 900.0]), torch.tensor([20.0, 1.0])):
        assert torch.equal(model.predict(x, t, None, context), model(x, t, None, told))


@every_network
def test_no_condition_an_empty_one_and_a_dropped_one_are_the_same_null(kind):
    model, (tokens, mask) = build(kind), a_text(4, 4)
    x, t = latents(model, 2, 5), torch.tensor([10.0, 500.0])
    null, told = model(x, t), {"text": Condition(tokens, mask)}
    torch.testing.assert_close(model(x, t, None, {"text": Condition(tokens, mask & False)}), null)
    half = model(x, t, None, told, drop={"text": torch.tensor([True, False])})
    torch.testing.assert_close(half[:1], null[:1])
    torch.testing.assert_close(half[1:], model(x, t, None, told)[1:])
    assert (half[1:] - null[1:]).abs().max() > 1e-3


@torch.no_grad()
def test_times_reach_the_network_on_one_scale_whatever_the_process():
    x, told = torch.randn(2, 3, 5), {"text": a_text(2, 2)}
    shares = torch.tensor([0.25, 0.75])
    found = [
        build(process=process)(x, shares * horizon, None, told)
        for process, horizon in ((DiffusionConfig(), 1000), (DiffusionConfig(steps=200), 200), (FlowConfig(), 1))
    ]
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def test_each_of_several_conditions_matters():
    model = build(conditions=SEVERAL)
    x, t, told = latents(model, 1, 5), torch.tensor([10.0]), {"text": a_text(4), "image": a_text(1, width=5)}
    for name in SEVERAL:
        without = {other: condition for other, condition in told.items() if other != name}
        assert (model(x, t, None, told) - model(x, t, None, without)).abs().amax() > 1e-3


def test_each_condition_is_dropped_by_row_with_its_share_and_only_in_training():
    model, rows = build(conditions=SEVERAL), 400
    x, t = latents(model, 1, 2).expand(rows, -1, -1), torch.full((rows,), 10.0)
    for name, condition in SEVERAL.items():
        told = {name: Condition(torch.randn(1, 2, condition.width).expand(rows, -1, -1), torch.ones(rows, 2).bool())}
        with torch.no_grad():
            kept = model.eval()(x, t, None, told)
            torch.manual_seed(1)
            dropped = (model.train()(x, t, None, told) - kept).abs().amax((1, 2)) > 1e-4
        assert dropped.float().mean() == pytest.approx(condition.dropout, abs=0.08)


@every_network
def test_extra_channels_are_read_and_zero_where_none_are_given(kind):
    model = build(kind, extra_channels=4)
    x, t = latents(model, 2, 5), torch.tensor([10.0, 20.0])
    extra = torch.randn(2, 4, *x.shape[2:])
    y = model(x, t)
    assert y.shape == x.shape
    torch.testing.assert_close(model(x, t, extra=torch.zeros_like(extra)), y)
    assert (model(x, t, extra=extra) - y).abs().max() > 1e-3


@every_network
def test_a_model_without_conditions_is_told_nothing(kind):
    model = build(kind, conditions={})
    x, t = latents(model, 2, 5), torch.tensor([10.0, 20.0])
    assert model.read(None, 2) is None
    assert model(x, t).shape == x.shape


@every_network
def test_every_weight_learns(kind):
    model = build(kind, conditions=SEVERAL, extra_channels=2).train()
    x, t = latents(model, 2, 6), torch.tensor([10.0, 500.0])
    told = {"text": a_text(4, 2), "image": a_text(1, 1, width=5)}
    drop = dict.fromkeys(SEVERAL, torch.tensor([True, False]))
    model(x, t, torch.tensor([4, 6]), told, drop, torch.randn(2, 2, *x.shape[2:])).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@every_network
@torch.no_grad()
def test_bfloat16_weights_and_autocast_give_about_the_float32_result(kind):
    model = build(kind)
    for parameter in model.parameters():
        parameter.mul_(0.5)
    x, t, told = latents(model, 2, 6), torch.tensor([10.0, 500.0]), {"text": a_text(3, 2)}
    exact = model(x, t, torch.tensor([4, 6]), told)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(x, t, torch.tensor([4, 6]), told)
    half = model.to(torch.bfloat16)(x, t, torch.tensor([4, 6]), told)
    assert half.dtype == x.dtype
    for rounded in (mixed, half):
        assert (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()


@every_network
def test_it_comes_back_from_its_folder(kind, tmp_path: Path):
    model = build(kind, conditions=SEVERAL, extra_channels=1)
    model.save_pretrained(tmp_path / "m")
    again = Denoiser.from_pretrained(tmp_path / "m")
    assert again.config == model.config
    x, t = latents(model, 1, 4), torch.tensor([3.0])
    assert torch.equal(again(x, t), model(x, t))


def test_what_does_not_fit_is_refused_with_the_numbers():
    model, t = build(extra_channels=2), torch.tensor([1.0])
    with pytest.raises(ValueError, match=r"frames of \(4,\), the model takes \(3,\)"):
        model(torch.randn(1, 4, 5), t)
    with pytest.raises(ValueError, match=r"extra is \(1, 3, 5\), with these latents it is \[B, 2"):
        model(torch.randn(1, 3, 5), t, extra=torch.randn(1, 3, 5))
    with pytest.raises(ValueError, match=r"no condition \['sound'\], only \['text'\]"):
        model(torch.randn(1, 3, 5), t, None, {"sound": a_text(1)})
    with pytest.raises(ValidationError, match="called train, torch uses that name"):
        DenoiserConfig(latent=(3,), max_frames=5, conditions={"train": ConditionConfig(width=1)})
