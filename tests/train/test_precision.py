import pytest
import torch
from torch import Tensor, nn

from t2a.train.precision import cast_forward


class Times(nn.Module):
    """Gives back how it sees what it is told."""

    def forward(self, x: Tensor, told: dict[str, Tensor]) -> tuple[torch.dtype, Tensor]:
        return x.dtype, told["t"]


@pytest.mark.parametrize("precision", ["fp32", "autocast", "bf16"])
def test_what_is_given_in_float64_stays_exact_in_every_precision(precision):
    module = Times()
    cast_forward(module, precision, torch.device("cpu"))
    t = torch.tensor([999.0, 0.12345], dtype=torch.float64)
    dtype, seen = module(torch.zeros(2), {"t": t})
    assert dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert torch.equal(seen, t)
