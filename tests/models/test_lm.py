from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from t2a.models.lm import LM, LMConfig
from t2a.nn.condition import Condition

SMALL = {"codebooks": 3, "bins": 11, "width": 16, "layers": 2, "heads": 2, "condition_width": 6, "max_frames": 20}
FUSES = [("prepend",), ("cross",), ("prepend", "cross")]


def build(**changes) -> LM:
    torch.manual_seed(0)
    return LM(LMConfig(**(SMALL | changes))).eval()


def a_condition(*lengths: int) -> Condition:
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return Condition(torch.randn(len(lengths), max(lengths), 6), mask)


def some_codes(batch: int, steps: int) -> torch.Tensor:
    codes = torch.randint(0, 11, (batch, 3, steps))
    codes[:, :, 0] = 11
    return codes


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
@pytest.mark.parametrize("fuse", FUSES)
@pytest.mark.parametrize("chunks", [[1] * 6, [4, 2]])
def test_cached_steps_equal_the_uncached_forward(fuse, positions, chunks):
    model, condition, codes = build(fuse=fuse, positions=positions), a_condition(4, 2, 0), some_codes(3, 6)
    with torch.no_grad():
        whole = model(codes, condition)
        state = model.start(condition, 3, 6)
        steps = torch.cat([model.advance(part, state) for part in codes.split(chunks, dim=2)], dim=2)
    assert whole.shape == (3, 3, 6, 11)
    torch.testing.assert_close(steps, whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
@pytest.mark.parametrize("fuse", FUSES)
def test_a_row_does_not_depend_on_its_batch_mates(fuse, positions):
    model, condition, codes = build(fuse=fuse, positions=positions), a_condition(2, 7), some_codes(2, 5)
    alone = Condition(condition.tokens[:1, :2], condition.mask[:1, :2])
    dirty = Condition(condition.tokens.masked_fill(~condition.mask[..., None], torch.nan), condition.mask)
    for together in (condition, dirty):
        torch.testing.assert_close(model(codes, together)[:1], model(codes[:1], alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("fuse", FUSES)
def test_predictions_use_the_past_and_the_text_but_not_the_future(fuse):
    model, condition, codes = build(fuse=fuse), a_condition(3), some_codes(1, 6)
    logits = model(codes, condition)
    changed = codes.clone()
    changed[:, :, 4] = (changed[:, :, 4] + 1) % 11
    assert torch.equal(model(changed, condition)[:, :, :4], logits[:, :, :4])
    assert not torch.allclose(model(changed, condition)[:, :, 4], logits[:, :, 4])
    assert not torch.allclose(model(codes, a_condition(3)), logits)


def test_no_condition_an_empty_one_and_a_dropped_one_are_the_same_null():
    model, condition, codes = build(), a_condition(4, 4), some_codes(2, 5)
    null = model(codes, None)
    torch.testing.assert_close(model(codes, Condition(condition.tokens, condition.mask & False)), null)
    torch.testing.assert_close(model(codes, condition, drop=torch.tensor([True, True])), null)
    half = model(codes, condition, drop=torch.tensor([True, False]))
    torch.testing.assert_close(half[:1], null[:1])
    torch.testing.assert_close(half[1:], model(codes, condition)[1:])


def test_text_is_dropped_by_sample_with_its_share_and_only_in_training():
    model, codes = build(condition_dropout=0.3), some_codes(1, 2).expand(400, -1, -1)
    condition = Condition(torch.randn(1, 2, 6).expand(400, -1, -1), torch.ones(400, 2, dtype=torch.bool))
    with torch.no_grad():
        kept = model(codes, condition)
        torch.manual_seed(1)
        dropped = (model.train()(codes, condition) - kept).abs().amax((1, 2, 3)) > 1e-4
    assert 0.22 < dropped.float().mean() < 0.38


def test_every_weight_learns_with_and_without_text():
    model = build(condition_dropout=0.5).train()
    model(some_codes(2, 4), a_condition(3, 2), drop=torch.tensor([True, False])).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_embeddings_are_averaged_or_added():
    mean, total = build(embedding="mean"), build(embedding="sum")
    total.load_state_dict(mean.state_dict())
    codes = some_codes(1, 4)
    torch.testing.assert_close(3 * mean._embed(codes), total._embed(codes))


def test_it_comes_back_from_its_folder(tmp_path: Path):
    model, condition, codes = build(pattern=(0, 1, 1)), a_condition(3), some_codes(1, 4)
    model.save_pretrained(tmp_path / "m")
    again = LM.from_pretrained(tmp_path / "m")
    assert again.config == model.config
    assert torch.equal(again(codes, condition), model(codes, condition))


def parameters(**sizes) -> int:
    with torch.device("meta"):
        model = LM(LMConfig(**sizes))
    return sum(p.numel() for p in model.parameters()) - model.null.numel()


def test_the_shape_of_audiocraft_s_small_model_has_its_420_633_600_parameters():
    sizes = {"codebooks": 4, "bins": 2048, "width": 1024, "layers": 24, "heads": 16, "condition_width": 1024}
    assert parameters(**sizes, fuse=["cross"]) == 420_633_600


@pytest.mark.parametrize(
    ("width", "layers", "heads", "condition_width", "t5", "published"),
    [(768, 24, 16, 768, 109.6e6, 285e6), (1280, 36, 20, 1024, 334.9e6, 1e9)],
)
def test_audiogen_base_and_large_have_the_published_sizes(width, layers, heads, condition_width, t5, published):
    # The paper's figures hold T5's encoder and leave the cross-attention out.
    sizes = {"codebooks": 1, "bins": 2048, "width": width, "layers": layers, "heads": heads}
    count = parameters(**sizes, condition_width=condition_width, fuse=["prepend"])
    assert (count + t5) / published == pytest.approx(1, abs=0.06)


def test_sizes_that_do_not_fit_are_refused_with_the_numbers():
    with pytest.raises(ValidationError, match="multiple of 2 \\* heads = 6"):
        LMConfig(width=16, heads=3)
    with pytest.raises(ValidationError, match="one delay for each of 4 codebooks"):
        LMConfig(pattern=(0, 1))
