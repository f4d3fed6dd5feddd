import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2a.config import load, validate
from t2a.errors import ConfigError
from t2a.tune.space import Point, Space

RANGES = {"a": {"uniform": [0, 1]}, "b.c": {"loguniform": [1e-5, 1e-3]}, "d": {"integer": [2, 4]}, "e": {"choice": [7]}}


def space(**changes) -> Space:
    settings = {
        "metric": "eval/si_snr",
        "mode": "max",
        "space": {"a": {"choice": [1, 2]}, "b": {"choice": ["x", None]}},
    }
    return validate(Space, settings | changes, "space.yaml")


def test_a_grid_has_every_combination_once():
    points = space().points()
    assert [tuple(p.values.values()) for p in points] == [(1, "x"), (1, None), (2, "x"), (2, None)]
    assert space().count == 4


def test_a_random_search_is_decided_by_its_seed():
    def drawn(seed):
        return space(space=RANGES, search={"kind": "random", "seed": seed}, trials=5).points()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len(drawn(1)) == 5


@given(st.integers(0, 10**6))
def test_drawn_values_lie_in_their_dimension(seed):
    (point,) = space(space=RANGES, search={"kind": "random", "seed": seed}, trials=1).points()
    a, bc, d, e = point.values.values()
    assert 0 <= a <= 1
    assert 1e-5 <= bc <= 1e-3
    assert d in (2, 3, 4)
    assert e == 7


def test_loguniform_favours_no_decade():
    found = space(space={"a": {"loguniform": [1e-4, 1]}}, search={"kind": "random"}, trials=4000).points()
    decades = [math.floor(math.log10(point.values["a"])) for point in found]
    assert all(abs(decades.count(decade) - 1000) < 150 for decade in (-4, -3, -2, -1))


def test_corners_hold_every_choice_and_bound_without_every_combination():
    found = list(space(space=RANGES, search={"kind": "optuna"}, trials=3).corners())
    assert {c["a"] for c in found} == {0, 1}
    assert {c["b.c"] for c in found} == {1e-5, 1e-3}
    assert {c["d"] for c in found} == {2, 4}
    assert len(found) == 4


def test_a_point_changes_its_keys_and_no_others():
    recipe = {"task": {"kind": "codec", "model": {"ratios": [8, 5], "filters": 4}}, "steps": 3}
    point = Point({"task.model": {"ratios": [4, 2]}, "optim.codec.lr": 1e-3})
    assert point.applied_to(recipe) == {
        "task": {"kind": "codec", "model": {"ratios": [4, 2], "filters": 4}},
        "steps": 3,
        "optim": {"codec": {"lr": 1e-3}},
    }
    assert recipe["task"]["model"]["ratios"] == [8, 5]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {}}, "at least 1 item"),
        ({"space": {"a": {"choise": [1]}}}, "choice: [...], or uniform:"),
        ({"space": {"a": {"choice": []}}}, "at least 1 item"),
        ({"space": {"a": 3}}, "choice: [...], or uniform:"),
        ({"space": {"a": {"uniform": [1, 0]}}, "search": {"kind": "random"}, "trials": 1}, "below the upper one"),
        ({"space": {"a": {"loguniform": [0, 1]}}, "search": {"kind": "random"}, "trials": 1}, "above 0"),
        ({"space": {"a": {"uniform": [0, 1]}}}, "a is a range: take search.kind random"),
        ({"trials": 3}, "leave `trials` out"),
        ({"search": {"kind": "optuna"}}, "say how many `trials`"),
        ({"search": {"kind": "bayes"}}, "search.kind"),
        ({"mode": "maximum"}, "mode: should be 'max' or 'min'"),
        ({"scheduler": {"kind": "asha"}}, "scheduler.grace: missing"),
        ({"concurent": 2}, "did you mean concurrent?"),
        ({"space": {"a.b": {"choice": [1]}, "a": {"choice": [{}]}}}, "a.b lies inside a"),
        ({"space": {x: {"choice": list(range(100))} for x in "abc"}}, "too large"),
    ],
)
def test_a_wrong_space_is_told_in_its_own_words(changes, words):
    with pytest.raises(ConfigError) as error:
        space(**changes)
    assert words in str(error.value)


def test_the_streams_of_the_example_have_equal_bit_rates_and_frames_that_fit_a_second():
    rates = set()
    for point in load(Space, "jobs/recipes/spaces/codec-streams.yaml").points():
        model = point.values["task.model"]
        hop = math.prod(model["ratios"])
        assert 16000 % hop == 0
        rates.add(16000 / hop * model["quantizer"]["codebooks"])
    assert len(rates) == 1
