import pytest
import torch

from t2a.nn.attention import Cache, CrossAttention, KeyValue, SelfAttention, attend


def test_self_attention_is_causal():
    layer, x = SelfAttention(16, 2), torch.randn(1, 6, 16)
    changed = x.clone()
    changed[:, 4:] += 1
    assert torch.equal(layer(x, None)[:, :4], layer(changed, None)[:, :4])


def test_cached_steps_equal_the_whole():
    layer, x = SelfAttention(16, 2), torch.randn(2, 6, 16)
    cache = Cache(2, 2, 6, 8, x.device, x.dtype)
    steps = torch.cat([layer(x[:, t : t + 1], None, cache=cache) for t in range(6)], dim=1)
    assert torch.allclose(steps, layer(x, None), atol=1e-6)


def test_a_full_cache_says_so():
    cache = Cache(1, 1, 2, 4, torch.device("cpu"), torch.float32)
    with pytest.raises(ValueError, match="holds 2 positions, 3 are needed"):
        cache.extend(KeyValue(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 4)))


def test_cross_attention_never_looks_at_padding():
    layer, x, context = CrossAttention(16, 2), torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    padded = layer(x, layer.project(context), mask)
    short = layer(x[:1], layer.project(context[:1, :3]), mask[:1, :3])
    assert torch.allclose(padded[:1], short, atol=1e-6)


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("masked", [None, "rows", "causal"])
def test_grouped_queries_equal_keys_and_values_that_are_repeated(queries, masked):
    q, k, v = torch.randn(2, 6, queries, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    rows = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])[:, None, None]
    mask = {None: None, "rows": rows, "causal": rows & torch.ones(queries, 5).bool().tril(5 - queries)}[masked]
    repeated = attend(q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1), mask, 0.0)
    torch.testing.assert_close(attend(q, k, v, mask, 0.0), repeated, atol=1e-6, rtol=0)


def test_qk_norm_makes_the_result_independent_of_the_scale_of_queries_and_keys():
    layer, x = SelfAttention(16, 4, kv_heads=2, qk_norm=True), torch.randn(2, 6, 16)
    before = layer(x, None)
    with torch.no_grad():
        layer.inward.weight[: 16 + 8] *= 10
    torch.testing.assert_close(layer(x, None), before, atol=1e-5, rtol=0)


def test_bfloat16_weights_and_autocast_give_about_the_float32_result():
    layer, x = SelfAttention(16, 4, kv_heads=2, qk_norm=True), torch.randn(2, 6, 16)
    exact = layer(x, None)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x, None)
    half = layer.to(torch.bfloat16)(x.to(torch.bfloat16), None)
    for rounded in (mixed, half):
        assert rounded.dtype == torch.bfloat16
        torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0)


def test_self_attention_that_is_not_causal_looks_both_ways():
    layer, x = SelfAttention(16, 2, causal=False), torch.randn(1, 6, 16)
    everything = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    torch.testing.assert_close(layer(x, None), layer(x, everything))
    assert not torch.allclose(layer(x, None), SelfAttention.forward(layer, x, everything.tril()))
