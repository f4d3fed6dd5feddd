import pytest
import torch
from torch import Tensor

from t2a.diffusion.guidance import Guidance, guided

LENGTH = torch.tensor([6, 4])
X = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
T = torch.tensor([10.0, 20.0])
ROW = torch.tensor([1.0, 2.0])
"""what each row is told"""


class Network:
    """Sees its rows through a non-linearity, whose size is what it is told; nothing is -1."""

    def __init__(self, told: tuple[bool, ...], told_rows: Tensor = ROW):
        self.told = torch.cat([told_rows if told else torch.full_like(told_rows, -1.0) for told in told])
        self.rows: list[int] = []

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.rows.append(len(x))
        return torch.tanh(x * self.told[:, None, None]) + t[:, None, None] / 100


def predict(gamma: float, rescale: float = 0.0, x: Tensor = X, length: Tensor = LENGTH) -> Tensor:
    guidance = Guidance(gamma, rescale)
    return guided(Network(guidance.told), guidance, length)(x, T)


def test_guidance_is_the_equation():
    told, null = Network((True,))(X, T), Network((False,))(X, T)
    torch.testing.assert_close(predict(3.5), null + 3.5 * (told - null))
    torch.testing.assert_close(predict(1.0), told)
    torch.testing.assert_close(predict(0.0), null)


@pytest.mark.parametrize(("gamma", "rows"), [(1.0, 2), (0.0, 2), (3.0, 4), (0.5, 4), (-1.0, 4)])
def test_gamma_zero_and_one_cost_one_pass(gamma, rows):
    guidance = Guidance(gamma, rescale=0.7)
    network = Network(guidance.told)
    guided(network, guidance, LENGTH)(X, T)
    assert network.rows == [rows]


def test_rescaled_guidance_has_the_spread_of_what_was_told():
    """Lin et al. (2023), eq. 15 and 16, over the real frames of each row."""
    told, mixed, found = Network((True,))(X, T), predict(5.0), predict(5.0, rescale=0.7)
    for row, length in enumerate(LENGTH):
        ratio = told[row, :, :length].std() / mixed[row, :, :length].std()
        torch.testing.assert_close(found[row], 0.7 * mixed[row] * ratio + 0.3 * mixed[row])
    assert predict(5.0, rescale=1.0)[0].std().item() == pytest.approx(told[0].std().item(), rel=1e-5)


def test_what_fills_a_row_up_does_not_change_its_rescaling():
    dirty = X.clone()
    dirty[1, :, 4:] = 1e4
    found, clean = predict(5.0, 0.7, dirty), predict(5.0, 0.7)
    torch.testing.assert_close(found[1, :, :4], clean[1, :, :4])
    torch.testing.assert_close(found[0], clean[0])
