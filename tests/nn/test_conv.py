import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.parametrizations import weight_norm

from t2a.nn.conv import Conv1d, ConvTranspose1d, pad

NORMS = ["weight", "layer", "time_group", "none"]


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 90),
    stride=st.integers(1, 8),
    causal=st.booleans(),
    mode=st.sampled_from(["constant", "reflect", "replicate"]),
    norm=st.sampled_from(NORMS),
)
def test_lengths_are_exact(samples, stride, causal, mode, norm):
    down = Conv1d(2, 3, 2 * stride, stride=stride, causal=causal, pad_mode=mode, norm=norm)
    up = ConvTranspose1d(3, 2, 2 * stride, stride=stride, causal=causal, norm=norm)
    y = down(torch.randn(1, 2, samples))
    assert y.shape == (1, 3, -(-samples // stride))
    assert up(y).shape == (1, 2, y.shape[-1] * stride)


@pytest.mark.parametrize("stride", [1, 4])
def test_a_causal_convolution_does_not_see_the_future(stride):
    conv = Conv1d(1, 2, 2 * stride + 1, stride=stride, causal=True)
    x = torch.randn(1, 1, 64)
    changed = x.clone()
    changed[..., 32:] += 1
    assert torch.equal(conv(x)[..., : 32 // stride], conv(changed)[..., : 32 // stride])
    assert not torch.equal(conv(x), conv(changed))


def test_a_causal_transposed_convolution_does_not_see_the_future():
    conv = ConvTranspose1d(1, 2, 8, stride=4, causal=True)
    x = torch.randn(1, 1, 16)
    changed = x.clone()
    changed[..., 8:] += 1
    assert torch.equal(conv(x)[..., :32], conv(changed)[..., :32])


def test_a_symmetric_convolution_is_torch_s_with_same_padding():
    conv = Conv1d(2, 3, 7, norm="none")
    x = torch.randn(2, 2, 50)
    expected = torch.nn.functional.conv1d(x, conv.weight, conv.bias, padding=3)
    torch.testing.assert_close(conv(x), expected)


def test_weight_norm_is_torch_s():
    conv = Conv1d(4, 6, 5)
    with torch.no_grad():
        conv.weight_g.mul_(1.7)
    reference = weight_norm(torch.nn.Conv1d(4, 6, 5, padding=2), dim=0)
    reference.parametrizations.weight.original0.data = conv.weight_g.data
    reference.parametrizations.weight.original1.data = conv.weight_v.data
    reference.bias.data = conv.bias.data
    x = torch.randn(1, 4, 20)
    torch.testing.assert_close(conv(x), reference(x))


def test_weight_norm_starts_at_the_weight_drawn():
    conv = ConvTranspose1d(4, 6, 5, stride=2)
    torch.testing.assert_close(conv.kernel(), conv.weight_v)


@pytest.mark.parametrize("norm", ["layer", "time_group"])
def test_output_norms_remove_the_scale(norm):
    conv = Conv1d(3, 8, 3, norm=norm)
    y = conv(100 * torch.randn(2, 3, 40))
    assert 0.9 < y.std().item() < 1.1


def test_reflection_mirrors_as_far_as_there_is_signal_and_zeros_stand_in_beyond():
    assert pad(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), 2, 1, "reflect").tolist() == [[[3, 2, 1, 2, 3, 4, 3]]]
    assert pad(torch.tensor([[[1.0, 2.0]]]), 3, 0, "reflect").tolist() == [[[0, 0, 2, 1, 2]]]
