from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from t2a.models.lm import LM, ConditionConfig, LMConfig, Pattern
from t2a.nn.condition import Condition, drawn
from t2a.nn.transformer import Positions
from t2a.tokens.patterns import NAMED, layout

SMALL = {"codebooks": 3, "bins": 11, "width": 16, "layers": 2, "heads": 2, "max_frames": 20}
FUSES = [("prepend",), ("cross",), ("sum",), ("prepend", "cross"), ("prepend", "cross", "sum")]


def build(fuse=("prepend", "cross"), **changes) -> LM:
    torch.manual_seed(0)
    text = ConditionConfig(width=6, fuse=fuse)
    return LM(LMConfig(**(SMALL | {"conditions": {"text": text}} | changes))).eval()


def a_text(*lengths: int) -> Condition:
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return Condition(torch.randn(len(lengths), max(lengths), 6), mask)


def a_condition(*lengths: int) -> dict[str, Condition]:
    return {"text": a_text(*lengths)}


def some_codes(batch: int, steps: int) -> torch.Tensor:
    codes = torch.randint(0, 11, (batch, 3, steps))
    codes[:, :, 0] = 11
    return codes


PATTERNS = [*get_args(Pattern), (0, 0, 2), (((1,),), ((0,), (2,)))]
POSITIONS = get_args(Positions)
OPTIONS = [{}, {"kv_heads": 1}, {"qk_norm": True}, {"activation": "swiglu"}]
MODERN = {"kv_heads": 2, "qk_norm": True, "activation": "swiglu"}


def matrix(test):
    """Run for all positions and ways to fuse, once as GPT-2 is made and once as later models are."""
    for name, values in {"options": [{}, MODERN], "positions": POSITIONS, "fuse": FUSES}.items():
        test = pytest.mark.parametrize(name, values, ids=str)(test)
    return test


def in_order(pattern, batch: int, frames: int) -> torch.Tensor:
    """Random codes as the model's inputs: placed by a pattern, shifted by one step."""
    placed = layout(pattern, 3, frames).build(torch.randint(0, 11, (batch, 3, frames)), 11)
    return torch.cat([torch.full_like(placed[:, :, :1], 11), placed[:, :, :-1]], dim=2)


def stepwise(model: LM, codes: torch.Tensor, conditions, chunks: int | list[int]) -> torch.Tensor:
    """Logits by the cache, so many steps at a time."""
    state = model.start(conditions, len(codes), codes.shape[2])
    return torch.cat([model.advance(part, state) for part in codes.split(chunks, dim=2)], dim=2)


@matrix
@torch.no_grad()
def test_steps_and_chunks_with_the_cache_equal_the_uncached_forward_in_every_pattern(fuse, positions, options):
    model, condition = build(fuse=fuse, positions=positions, heads=4, **options), a_condition(4, 2, 0)
    for pattern in PATTERNS:
        codes = in_order(pattern, 3, 3)
        whole = model(codes, condition)
        assert whole.shape == (*codes.shape, 11)
        for chunks in (1, [codes.shape[2] - 1, 1]):
            found = stepwise(model, codes, condition, chunks)
            torch.testing.assert_close(found, whole, atol=1e-4, rtol=0, msg=str(pattern))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@torch.no_grad()
def test_each_option_alone_does_so_too_and_changes_the_model(options):
    torch.manual_seed(1)
    condition, codes = a_condition(4, 2), some_codes(2, 6)
    model = build(**options)
    torch.testing.assert_close(stepwise(model, codes, condition, [4, 2]), model(codes, condition), atol=1e-4, rtol=0)
    sizes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert (sizes == {name: tensor.shape for name, tensor in build().state_dict().items()}) == (not options)


@matrix
@torch.no_grad()
def test_a_row_depends_neither_on_its_batch_mates_nor_on_padding(fuse, positions, options):
    model = build(fuse=fuse, positions=positions, heads=4, **options)
    (tokens, mask), codes = a_text(2, 7), in_order("delay", 2, 4)
    alone = {"text": Condition(tokens[:1, :2], mask[:1, :2])}
    for padding in (0, torch.nan):
        together = {"text": Condition(tokens.masked_fill(~mask[..., None], padding), mask)}
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


@pytest.mark.parametrize("fuse", FUSES)
def test_no_condition_an_empty_one_and_a_dropped_one_are_the_same_null(fuse):
    model, (tokens, mask), codes = build(fuse=fuse), a_text(4, 4), some_codes(2, 5)
    null, condition = model(codes, None), {"text": Condition(tokens, mask)}
    torch.testing.assert_close(model(codes, {"text": Condition(tokens, mask & False)}), null)
    torch.testing.assert_close(model(codes, condition, drop={"text": torch.tensor([True, True])}), null)
    half = model(codes, condition, drop={"text": torch.tensor([True, False])})
    torch.testing.assert_close(half[:1], null[:1])
    torch.testing.assert_close(half[1:], model(codes, condition)[1:])


SEVERAL = {
    "text": ConditionConfig(width=6, fuse=("prepend", "cross")),
    "melody": ConditionConfig(width=3, fuse=("prepend",), null_length=5),
    "class": ConditionConfig(width=2, fuse=("sum", "cross")),
}


def three_conditions(rows: int = 2) -> dict[str, Condition]:
    lengths = torch.tensor([3, 1])[:rows]
    melody = Condition(torch.randn(rows, 3, 3), torch.arange(3) < lengths[:, None])
    classes = Condition(torch.randn(rows, 1, 2), torch.ones(rows, 1, dtype=torch.bool))
    return a_condition(*[4, 2][:rows]) | {"melody": melody, "class": classes}


@pytest.mark.parametrize("name", list(SEVERAL))
def test_each_of_several_conditions_matters_and_dropping_one_equals_giving_none_of_it(name):
    model, codes, given = build(conditions=SEVERAL), some_codes(2, 5), three_conditions()
    whole = model(codes, given)
    without = model(codes, {other: condition for other, condition in given.items() if other != name})
    assert (whole - without).abs().amax((1, 2, 3)).min() > 1e-3
    dropped = model(codes, given, drop={name: torch.tensor([True, False])})
    torch.testing.assert_close(dropped[:1], without[:1])
    torch.testing.assert_close(dropped[1:], whole[1:])


@pytest.mark.parametrize("chunks", [1, [4, 2]])
@torch.no_grad()
def test_several_conditions_step_by_step_equal_the_uncached_forward(chunks):
    model, codes, given = build(conditions=SEVERAL), some_codes(2, 6), three_conditions()
    torch.testing.assert_close(stepwise(model, codes, given, chunks), model(codes, given), atol=1e-4, rtol=0)


def test_the_null_of_a_condition_stands_as_often_as_the_config_says():
    model, given = build(conditions=SEVERAL), three_conditions()
    empty = given | {"melody": Condition(given["melody"].tokens, given["melody"].mask & False)}
    for prefix in (model._fuse(empty, 2, {}).prefix, model._fuse({"text": given["text"]}, 2, {}).prefix):
        assert prefix.mask[:, 4:].tolist() == [[True] * 5] * 2
        assert torch.equal(prefix.tokens[:, 4:], model.nulls["melody"].expand(2, 5, -1))


def test_prepended_conditions_stand_in_the_order_of_the_config():
    model, given = build(conditions=SEVERAL), three_conditions(1)
    expected = [model.projections[name](given[name].tokens) for name in ("text", "melody")]
    tokens, mask = model._fuse(given, 1, {}).prefix
    torch.testing.assert_close(tokens[mask], torch.cat(expected, dim=1)[0])


def test_a_condition_that_the_model_does_not_have_is_told():
    with pytest.raises(ValueError, match=r"no condition \['melody'\], only \['text'\]"):
        build()(some_codes(1, 2), {"melody": a_text(1)})


def test_each_condition_is_dropped_by_row_with_its_share_and_only_in_training():
    shares = {"text": 0.3, "melody": 0.6}
    model = build(conditions={n: ConditionConfig(width=6, fuse=("sum",), dropout=d) for n, d in shares.items()})
    codes = some_codes(1, 2).expand(400, -1, -1)
    for name, share in shares.items():
        given = {name: Condition(torch.randn(1, 2, 6).expand(400, -1, -1), torch.ones(400, 2, dtype=torch.bool))}
        with torch.no_grad():
            kept = model.eval()(codes, given)
            torch.manual_seed(1)
            dropped = (model.train()(codes, given) - kept).abs().amax((1, 2, 3)) > 1e-4
        assert dropped.float().mean() == pytest.approx(share, abs=0.08)
    rows = drawn(shares, 400, torch.device("cpu"))
    assert 0.05 < (rows["text"] & rows["melody"]).float().mean() < 0.3  # independently: 0.18


def test_every_weight_learns_with_and_without_text():
    model, drop = build(conditions=SEVERAL).train(), torch.tensor([True, False])
    model(some_codes(2, 4), three_conditions(), drop=dict.fromkeys(SEVERAL, drop)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpointed_activations_give_the_same_gradients_and_are_kept_no_longer(dropout):
    codes, condition, kept = some_codes(2, 5), a_condition(3, 2), []
    found = {}
    for again in (False, True):
        model = build(checkpoint_activations=again, layers=3, dropout=dropout, conditions=SEVERAL).train()
        held = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, held=held: held.append(x.numel()) or x, lambda x: x):
            torch.manual_seed(2)
            loss = model(codes, condition).square().mean()
        kept.append(sum(held))
        loss.backward()
        found[again] = {name: p.grad for name, p in model.named_parameters()}
    for name, gradient in found[False].items():
        torch.testing.assert_close(found[True][name], gradient)
    assert kept[1] < kept[0] / 2


def test_embeddings_are_averaged_or_added():
    mean, total = build(embedding="mean"), build(embedding="sum")
    total.load_state_dict(mean.state_dict())
    codes = some_codes(1, 4)
    torch.testing.assert_close(3 * mean._embed(codes, None), total._embed(codes, None))


def test_its_patterns_are_those_that_have_a_name():
    assert set(get_args(Pattern)) == set(NAMED)


@pytest.mark.parametrize("pattern", [(0, 1, 1), (((1,),), ((0, (2, 1)),))])
def test_it_comes_back_from_its_folder(tmp_path: Path, pattern):
    model, condition, codes = build(pattern=pattern, **MODERN), a_condition(3), some_codes(1, 4)
    model.save_pretrained(tmp_path / "m")
    again = LM.from_pretrained(tmp_path / "m")
    assert again.config == model.config
    assert torch.equal(again(codes, condition), model(codes, condition))


def test_the_shape_of_audiocraft_s_small_model_has_its_420_633_600_parameters():
    text = ConditionConfig(width=1024, fuse=("cross",))
    with torch.device("meta"):
        model = LM(LMConfig(codebooks=4, bins=2048, width=1024, layers=24, heads=16, conditions={"text": text}))
    assert sum(p.numel() for p in model.parameters()) - model.nulls["text"].numel() == 420_633_600


def test_sizes_that_do_not_fit_are_refused_with_the_numbers():
    with pytest.raises(ValidationError, match="multiple of 2 \\* heads = 6"):
        LMConfig(width=16, heads=3)
    for pattern in ((0, 1), (((0,),), ((1, 2),)), (((0, 1), (2, (3, 1), 3)),)):
        with pytest.raises(ValidationError, match="place each of 4 codebooks once"):
            LMConfig(pattern=pattern)
    with pytest.raises(ValidationError, match="multiple of channels 3"):
        LMConfig(channels=3)
    with pytest.raises(ValidationError, match="multiple of kv_heads 3"):
        LMConfig(kv_heads=3)
    with pytest.raises(ValidationError, match="called train, torch uses that name"):
        LMConfig(conditions={"train": ConditionConfig(width=1, fuse=("sum",))})
