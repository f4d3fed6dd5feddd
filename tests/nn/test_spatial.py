import pytest
import torch

from t2a.nn.attention import Context
from t2a.nn.spatial import SpatialTransformer
from tests.models.test_denoiser import awake


@pytest.mark.parametrize("context_width", [None, "self", 6])
@torch.no_grad()
def test_places_of_all_bands_see_each_other_but_not_what_fills_a_row_up(context_width):
    layer = awake(SpatialTransformer(8, 2, 2, context_width, groups=4))
    told = None
    if context_width == 6:
        blocks = list(layer.blocks)
        for index, block in enumerate(blocks):
            block.layer = index
        tokens = torch.randn(1, 3, 6)
        told = Context(tuple(block.cross_attention.project(tokens) for block in blocks), torch.ones(1, 3).bool())
    x, real = torch.randn(1, 8, 3, 5), torch.tensor([[True] * 4 + [False]])
    y = layer(x, real, told)
    torch.testing.assert_close(y[..., :4], layer(x[..., :4], None, told), atol=1e-5, rtol=1e-5)
    x[:, :, 0, 0] += 1
    assert (layer(x, real, told) - y)[..., :4].abs().amax(1).min() > 1e-4
