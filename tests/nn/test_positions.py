import torch

from t2a.nn.positions import rotary, rotate, sinusoids


def test_rotary_scores_depend_on_the_distance_alone():
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(at, other):
        return (rotate(q, *rotary(torch.tensor([[at]]), 8)) * rotate(k, *rotary(torch.tensor([[other]]), 8))).sum()

    assert torch.allclose(score(3, 1), score(103, 101), atol=1e-5)
    assert not torch.allclose(score(3, 1), score(4, 1), atol=1e-3)


def test_sinusoids_hold_cosines_then_sines():
    encoded = sinusoids(torch.tensor([0, 1]), 8)
    assert encoded[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert torch.allclose(encoded[1, [0, 4]], torch.tensor([1.0]).cos().new_tensor([0.5403, 0.8415]), atol=1e-4)
