import pytest
import torch
from torch import nn

from t2a.errors import ConfigError
from t2a.nn import packed
from t2a.nn.packed import Int8Linear, PackedLinear, pack

ERRORS = {"float32": 1e-6, "bfloat16": 5e-3, "int8": 2e-2}


def layer(bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(64, 96, bias=bias)


@pytest.mark.parametrize("shape", [(64,), (2, 64), (3, 5, 64)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("precision", ERRORS)
@torch.inference_mode()
def test_a_packed_layer_gives_what_the_layer_gives(precision, bias, shape):
    linear, x = layer(bias), torch.randn(shape)
    y, expected = packed.PACKING[precision](linear)(x), linear(x)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    assert float((y - expected).norm() / expected.norm()) < ERRORS[precision]


@torch.inference_mode()
def test_rows_of_an_int8_layer_do_not_depend_on_each_other():
    linear, x = Int8Linear(layer()), torch.randn(9, 64)
    x[3] *= 1000
    x[4] = 0
    together = linear(x)
    for row in range(9):
        assert torch.equal(linear(x[row : row + 1])[0], together[row])
    assert torch.isfinite(together).all()


def test_packing_replaces_linear_layers_at_any_depth_and_nothing_else():
    model = nn.Sequential(nn.Embedding(4, 64), nn.Sequential(layer(), nn.LayerNorm(96)))
    ids = torch.tensor([[0, 3]])
    with torch.inference_mode():
        expected = model(ids)
        assert pack(model) is model
        torch.testing.assert_close(model(ids), expected)
    assert [type(part) for part in (model[0], *model[1])] == [nn.Embedding, PackedLinear, nn.LayerNorm]


def test_kernels_that_are_missing_are_told(monkeypatch):
    monkeypatch.setattr(packed, "available", lambda precision: False)
    with pytest.raises(ConfigError, match="no int8 kernels for this CPU: use precision float32"):
        pack(layer(), "int8")


CONVOLUTIONS = {"3 x 3": {"padding": 1}, "coarser": {"stride": 2, "padding": (1, 0)}, "two groups": {"groups": 2}}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@torch.inference_mode()
def test_a_packed_convolution_gives_what_the_layer_gives(precision, kind, layout):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(8, 12, 3, **CONVOLUTIONS[kind]), torch.randn(2, 8, 6, 11).contiguous(memory_format=layout)
    y, expected = pack(conv, precision)(x), conv(x)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    assert float((y - expected).norm() / expected.norm()) < ERRORS[precision]


def test_convolutions_that_no_kernel_knows_stay_as_they_are():
    circular = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
    assert pack(circular) is circular
    assert type(pack(nn.Sequential(nn.Conv2d(4, 4, 3)), "int8")[0]) is nn.Conv2d
