import torch

from t2a.tokens.sampling import Sampling, guide, sample, streams, uniforms


def draws(logits, count=4000, **how):
    tokens = sample(logits.expand(count, -1), uniforms(streams([0]), count, 1)[0, :, 0], **how)
    return torch.bincount(tokens, minlength=logits.shape[-1]) / count


def test_frequencies_follow_the_softmax_at_the_temperature():
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    assert torch.allclose(draws(logits), logits.softmax(-1), atol=0.03)
    assert torch.allclose(draws(logits, temperature=0.5), (2 * logits).softmax(-1), atol=0.03)


def test_temperature_zero_takes_the_likeliest():
    assert sample(torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([0.99]), temperature=0).tolist() == [1]


def test_top_k_draws_only_the_k_likeliest_in_proportion():
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    expected = torch.tensor([1.0, -torch.inf, -torch.inf, 2.0]).softmax(-1)
    assert torch.allclose(draws(logits, top_k=2), expected, atol=0.03)


def test_top_p_draws_the_smallest_set_that_reaches_the_share():
    probabilities = torch.tensor([0.15, 0.4, 0.05, 0.4])
    assert (draws(probabilities.log(), top_p=0.81) > 0).tolist() == [True, True, False, True]
    assert (draws(probabilities.log(), top_p=0.3) > 0).sum() == 1


def test_extreme_numbers_never_draw_an_excluded_token():
    logits = torch.randn(50, 2048)
    kept = logits.topk(5).indices
    for number in (0.0, 1 - 2**-24):
        tokens = sample(logits, torch.full((50,), number), top_k=5)
        assert (kept == tokens[:, None]).any(1).all()


def test_a_draw_depends_on_its_own_seed_alone_and_a_longer_one_begins_with_the_shorter():
    together, alone = uniforms(streams([3, 4, 5]), 40, 4), uniforms(streams([4]), 90, 4)
    assert torch.equal(together[1], alone[0, :40])
    assert not torch.equal(together[0], together[1])


def test_guidance_one_is_the_conditional_and_zero_the_null():
    a, b = torch.randn(2, 3, 10), torch.randn(2, 3, 10)
    assert torch.allclose(guide(a, b, 1.0).softmax(-1), a.softmax(-1), atol=1e-6)
    assert torch.allclose(guide(a, b, 0.0).softmax(-1), b.softmax(-1), atol=1e-6)


def test_guidance_is_linear_in_log_probabilities_not_in_raw_logits():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([10.0, 10.0])
    expected = 3 * a.log_softmax(-1) - 2 * b.log_softmax(-1)
    assert torch.allclose(guide(a, b, 3.0), expected)


def test_draws_one_after_another_are_the_one_long_draw():
    pieces, whole = streams([3, 4]), uniforms(streams([3, 4]), 50, 3)
    assert torch.equal(torch.cat([uniforms(pieces, n, 3) for n in (1, 7, 42)], dim=1), whole)


def test_twice_the_rows_are_guided_and_others_are_not():
    logits, number = torch.randn(2, 3, 10), torch.rand(1, 3)
    greedy = Sampling(guidance=2.0, temperature=0.0)
    assert torch.equal(greedy.draw(logits, number), guide(logits[:1], logits[1:], 2.0).argmax(-1))
    assert torch.equal(greedy.draw(logits[:1], number), logits[:1].argmax(-1))
