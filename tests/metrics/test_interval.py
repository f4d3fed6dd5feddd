import numpy as np
import pytest

from t2a.metrics.interval import bootstrap


def test_the_interval_is_that_of_the_normal_law():
    values = np.random.default_rng(0).normal(5, 2, 400)
    interval = bootstrap(values)
    assert interval.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05)
    assert interval == bootstrap(values)


def test_values_of_one_clip_are_drawn_together():
    clips = np.random.default_rng(0).normal(5, 2, 100)
    values, groups = np.repeat(clips, 5), [f"clip {i}" for i in range(100) for _ in range(5)]
    apart, together = bootstrap(values), bootstrap(values, groups=groups)
    assert together == pytest.approx(bootstrap(clips)._replace(count=500))
    assert apart.high - apart.low < 0.5 * (together.high - together.low)
    assert bootstrap([1.0, 2.0], groups="aa")[1:3] == (-np.inf, np.inf)


def test_one_value_says_nothing_of_its_spread_and_none_is_an_error():
    assert bootstrap([3.0])[1:3] == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])
