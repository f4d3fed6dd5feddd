import pytest
import torch

from t2a.nn.attention import Cache, CrossAttention, KeyValue, SelfAttention, rotary, rotate, sinusoids


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


def test_rotary_scores_depend_on_the_distance_alone():
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(at, other):
        return (rotate(q, *rotary(torch.tensor([[at]]), 8)) * rotate(k, *rotary(torch.tensor([[other]]), 8))).sum()

    assert torch.allclose(score(3, 1), score(103, 101), atol=1e-5)
    assert not torch.allclose(score(3, 1), score(4, 1), atol=1e-3)


def test_sinusoids_hold_cosines_then_sines():
    encoded = sinusoids(torch.tensor([0, 1]), 8)
    assert encoded[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert torch.allclose(encoded[1, [0, 4]], torch.tensor([1.0]).cos().new_tensor([0.5403, 0.8415]), atol=1e-4)


def test_bfloat16_weights_and_autocast_give_about_the_float32_result():
    layer, x = SelfAttention(16, 2), torch.randn(2, 6, 16)
    exact = layer(x, None)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x, None)
    half = layer.to(torch.bfloat16)(x.to(torch.bfloat16), None)
    for rounded in (mixed, half):
        assert rounded.dtype == torch.bfloat16
        torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0)
