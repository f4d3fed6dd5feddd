from collections import Counter

import numpy as np
import pytest

from t2a.data.mixing import Draws, MixConfig, draw, lay, partner

RATE = 8000


def draws(**changes: float) -> Draws:
    return Draws(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)._replace(**changes)


def noise(samples: int, seed: int, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal((1, samples))).astype(np.float32)


def test_draws_depend_on_seed_visit_and_place_alone():
    assert draw(3, 7, 2) == draw(3, 7, 2)
    made = [draw(seed, visit, place) for seed in range(3) for visit in range(20) for place in range(20)]
    assert len(set(made)) == len(made)
    assert np.allclose(np.mean(made, axis=0), 0.5, atol=0.03)
    assert all(0 <= value < 1 for values in made for value in values)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_any_row_but_itself_may_become_the_partner(count):
    for own in range(count):
        found = Counter(partner(draws(partner=i / 1000), own, count) for i in range(1000))
        assert set(found) == set(range(count)) - {own}
        assert max(found.values()) - min(found.values()) <= 1


def test_a_mixture_fits_the_crop_and_keeps_the_ratio_within_it():
    config = MixConfig(snr_db=(3.0, 3.0))
    first, second = noise(1000, 0), noise(1000, 1, 0.02)
    both = lay(config, draws(offset=0.999), first, second, length=1200)
    assert both is not None
    assert both.shape == (1, 1200)
    placed = np.zeros((1, 1200), np.float32)
    placed[:, 500:] = second[:, :700]
    gain = float((both[:, 1000:] / placed[:, 1000:]).mean())
    np.testing.assert_allclose(both[:, :1000] - gain * placed[:, :1000], first, atol=1e-5)
    power = [np.square(part.astype(float)).mean() for part in (first[:, 500:], gain * second[:, :500])]
    assert 10 * np.log10(power[0] / power[1]) == pytest.approx(3.0, abs=1e-3)


def test_ratios_span_the_range():
    config, first = MixConfig(), noise(4000, 0, 1e-2)
    levels = []
    for snr in (0.0, 0.5, 1.0):
        both = lay(config, draws(snr=snr, offset=0.0), first, noise(4000, 1), 4000)
        assert both is not None
        levels.append(10 * np.log10(np.square(first).mean() / np.square(both - first).mean()))
    assert levels == pytest.approx([-5, 0, 5], abs=0.01)


@pytest.mark.parametrize("quiet", [0, 1])
def test_what_is_silent_in_the_overlap_is_not_mixed(quiet):
    waves = [noise(100, 0), noise(100, 1)]
    waves[quiet] = 1e-4 * waves[quiet]
    assert lay(MixConfig(), draws(), *waves, length=100) is None
