import pytest
from torch import nn

from t2a.train.optim import Constant, Cosine, InverseSqrt, OptimConfig, groups, lr_at


def rates(schedule, steps=100) -> list[float]:
    return [lr_at(OptimConfig(lr=2.0, schedule=schedule), step, steps) for step in range(steps)]


def test_constant_rises_linearly_then_stays() -> None:
    assert rates(Constant(warmup=4))[:6] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert set(rates(Constant())) == {2.0}


def test_cosine_falls_to_its_floor_at_the_end() -> None:
    made = rates(Cosine(warmup=20, floor=0.1))
    assert made[19] == made[20] == 2.0
    assert made[60] == pytest.approx(2.0 * 0.55)
    assert lr_at(OptimConfig(lr=2.0, schedule=Cosine(warmup=20, floor=0.1)), 100, 100) == pytest.approx(0.2)
    assert made[20:] == sorted(made[20:], reverse=True)


def test_inverse_square_root_halves_at_four_times_the_warm_up() -> None:
    made = rates(InverseSqrt(warmup=10))
    assert max(made) == made[9] == 2.0
    assert made[39] == pytest.approx(1.0)


@pytest.mark.parametrize("warmup", [1, 7, 100, 3000])
def test_inverse_square_root_is_the_closed_form(warmup) -> None:
    """Vaswani et al. (2017), equation 3: proportional to min(n^-0.5, n * warmup^-1.5), n counted from 1."""
    config = OptimConfig(lr=5e-4, schedule=InverseSqrt(warmup=warmup))
    for step in (0, 1, 6, 7, 99, 100, 2999, 3000, 199_999):
        n = step + 1
        expected = 5e-4 * warmup**0.5 * min(n**-0.5, n * warmup**-1.5)
        assert lr_at(config, step, 200_000) == pytest.approx(expected, rel=1e-12)


def test_only_matrices_are_decayed_unless_all_are() -> None:
    module = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 5), nn.LayerNorm(5))
    module[1].bias.requires_grad_(False)
    decayed, free = groups(OptimConfig(weight_decay=0.1), module)
    assert [tuple(p.shape) for p in decayed["params"]] == [(5, 4)]
    assert [tuple(p.shape) for p in free["params"]] == [(3, 4), (5,), (5,)]
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    (everything,) = groups(OptimConfig(weight_decay=0.1, decay_all=True), module)
    assert (len(everything["params"]), everything["weight_decay"]) == (4, 0.1)
