import numpy as np

from t2a.metrics.codes import count, perplexity, unigram_cross_entropy, unigram_entropy, usage


def test_entropy_of_even_codes_is_the_log_of_their_number_and_of_a_constant_zero():
    clips = [np.array([[0, 1], [5, 5]]), np.array([[2, 3], [5, 5]])]
    counts = count(clips, 2, 8)
    assert counts.sum(1).tolist() == [4, 4]
    np.testing.assert_allclose(unigram_entropy(counts), [np.log(4), 0], atol=1e-12)
    np.testing.assert_allclose(perplexity(unigram_entropy(counts)), [4, 1])
    np.testing.assert_allclose(usage(counts), [0.5, 0.125])


def test_frequencies_learned_elsewhere_pay_at_least_the_entropy_and_stay_finite_on_unseen_codes():
    random = np.random.default_rng(0)
    learned, judged = (count([random.integers(0, high, (2, 5000))], 2, 16) for high in (8, 16))
    paid = unigram_cross_entropy(learned, judged)
    assert (paid > unigram_entropy(judged)).all()
    assert np.isfinite(paid).all()
    np.testing.assert_allclose(unigram_cross_entropy(judged, judged), unigram_entropy(judged), atol=1e-3)
