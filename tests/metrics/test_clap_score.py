import numpy as np
import pytest

from t2a.metrics.clap_score import clap_score


def test_it_is_the_mean_over_all_shuffles():
    random = np.random.default_rng(0)
    similarity, right = random.uniform(-1, 1, (5, 5)), np.eye(5, dtype=bool)
    found = clap_score(similarity, right)
    np.testing.assert_allclose(found.own, np.diag(similarity))
    shuffled = [[similarity[row, (row + shift) % 5] for shift in range(1, 5)] for row in range(5)]
    np.testing.assert_allclose(found.others, np.mean(shuffled, 1))
    np.testing.assert_allclose(found.gain, found.own - found.others)


def test_a_sound_may_have_several_captions():
    right = np.array([[True, True, False], [False, False, True]])
    found = clap_score(np.array([[0.5, 0.3, -0.2], [0.0, 0.1, 0.8]]), right)
    np.testing.assert_allclose(found.own, [0.4, 0.8])
    np.testing.assert_allclose(found.others, [-0.2, 0.05])


def test_a_sound_without_anything_to_compare_is_refused():
    with pytest.raises(ValueError, match="needs captions"):
        clap_score(np.ones((2, 2)), np.array([[True, False], [True, True]]))
