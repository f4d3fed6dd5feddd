import pytest
import torch

from t2a.nn.transformer import Decoder, Encoder, Shape

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


def test_an_encoder_computes_what_torch_s_does():
    torch.manual_seed(0)
    ours = Encoder(Shape(WIDTH, 4, 32), 2).eval()
    layer = torch.nn.TransformerEncoderLayer(WIDTH, 4, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs = torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(WIDTH), enable_nested_tensor=False).eval()
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    for own, other in zip(ours.blocks, theirs.layers, strict=True):
        other.self_attn.in_proj_weight = own.self_attention.inward.weight
        other.self_attn.out_proj.weight = own.self_attention.outward.weight
        other.linear1.weight, other.linear2.weight = own.expand.weight, own.contract.weight
    x, real = torch.randn(2, 5, WIDTH), torch.tensor([[True] * 5, [True, True, False, True, False]])
    expected = theirs(x, src_key_padding_mask=~real)
    torch.testing.assert_close(ours(x, real)[real], expected[real], atol=1e-5, rtol=1e-5)
