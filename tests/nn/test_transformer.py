import pytest
import torch

from t2a.nn.transformer import Decoder, Shape

WIDTH = 16


MODERN = {"kv_heads": 2, "qk_norm": True, "activation": "swiglu"}


@pytest.fixture(params=[("sinusoidal", {}), ("rotary", {}), ("none", {}), ("rotary", MODERN)])
def decoder(request):
    torch.manual_seed(0)
    positions, options = request.param
    return Decoder(Shape(WIDTH, 4, 32, cross=True, **options), 2, positions).eval()


@pytest.mark.parametrize("chunks", [[1] * 7, [3, 4], [4, 1, 2]])
def test_cached_chunks_equal_the_whole_with_padding_and_context(decoder, chunks):
    x, context = torch.randn(2, 7, WIDTH), torch.randn(2, 3, WIDTH)
    real = torch.tensor([[True, False, False] + [True] * 4, [True] * 7])
    context_mask = torch.tensor([[True, False, False], [True] * 3])
    whole = decoder(x, real, context, context_mask)
    state = decoder.start(2, 7, context, context_mask)
    pieces, begin = [], 0
    for count in chunks:
        part = slice(begin, begin + count)
        pieces.append(decoder.advance(x[:, part], state, real[:, part]))
        begin += count
    assert torch.allclose(torch.cat(pieces, 1)[real], whole[real], atol=1e-5)


def test_padding_changes_nothing(decoder):
    x, context, mask = torch.randn(1, 5, WIDTH), torch.randn(1, 2, WIDTH), torch.ones(1, 2, dtype=torch.bool)
    padded = torch.cat([x[:, :2], 100 * torch.randn(1, 3, WIDTH), x[:, 2:]], dim=1)
    real = torch.tensor([[True] * 2 + [False] * 3 + [True] * 3])
    assert torch.allclose(decoder(padded, real, context, mask)[real], decoder(x, None, context, mask)[0], atol=1e-5)


def test_order_matters(decoder):
    x, context, mask = torch.randn(1, 5, WIDTH), torch.randn(1, 2, WIDTH), torch.ones(1, 2, dtype=torch.bool)
    turned = torch.cat([x[:, [1, 0]], x[:, 2:]], dim=1)
    assert not torch.allclose(decoder(x, None, context, mask)[:, -1], decoder(turned, None, context, mask)[:, -1])
