import numpy as np
import pytest

from t2a.metrics.retrieval import chance, percentile, recall

SCORES = np.array([[0.9, 0.1, 0.5], [0.2, 0.2, 0.8], [0.0, 0.4, 0.3]])
RIGHT = np.array([[True, False, False], [True, True, False], [False, False, True]])


def test_a_right_candidate_counts_from_its_rank_on():
    assert recall(SCORES, RIGHT, 1).tolist() == [1, 0, 0]
    assert recall(SCORES, RIGHT, 2).tolist() == [1, 1, 1]


def test_ties_count_against_the_query():
    assert recall(np.zeros((1, 4)), np.array([[True, False, False, False]]), 3).tolist() == [0]


def test_a_model_that_gives_nan_finds_nothing():
    assert recall(np.full((2, 4), np.nan), np.eye(2, 4, dtype=bool), 3).tolist() == [0, 0]


def test_chance_is_what_random_orders_reach():
    draws = np.random.default_rng(0)
    right = np.array([[True, True, False, False, False, False]])
    for k in (1, 2, 3):
        reached = np.mean([recall(draws.random((1, 6)), right, k)[0] for _ in range(4000)])
        assert chance(right, k)[0] == pytest.approx(reached, abs=0.03)
    assert chance(np.ones((1, 2), bool), 1)[0] == 1


def test_the_percentile_counts_wrong_candidates_below():
    assert percentile(SCORES, RIGHT).tolist() == [1, 0, 0.5]
    assert percentile(np.zeros((1, 3)), RIGHT[:1]).tolist() == [0.5]
