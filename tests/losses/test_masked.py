import math

import torch
from torch.nn import functional

from t2a.losses.masked import matching, reconstruction


def rows(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    matched, patches = torch.randn(2, 3, 5, 4, generator=draw)
    hidden = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    return matched, patches, hidden


def test_matching_is_cross_entropy_among_the_hidden_patches_of_the_clip():
    matched, patches, hidden = rows()
    nats, found = matching(matched, patches, hidden)
    for row in range(3):
        logits = matched[row, hidden[row]] @ patches[row, hidden[row]].T
        order = torch.arange(len(logits))
        torch.testing.assert_close(nats[row], functional.cross_entropy(logits, order))
        torch.testing.assert_close(found[row], (logits.argmax(1) == order).float().mean())
    assert nats[1] == 0  # one candidate alone


def test_what_says_nothing_costs_the_logarithm_of_the_candidates():
    _, patches, hidden = rows()
    nats, _ = matching(torch.zeros_like(patches), patches, hidden)
    torch.testing.assert_close(nats, torch.tensor([math.log(3), 0.0, math.log(5)]))


def test_reconstruction_is_the_squared_error_of_the_hidden_alone():
    painted, patches, hidden = rows()
    found = reconstruction(painted, patches, hidden)
    for row in range(3):
        expected = functional.mse_loss(painted[row, hidden[row]], patches[row, hidden[row]])
        torch.testing.assert_close(found[row], expected)


def test_visible_patches_get_no_gradient_and_nothing_is_lost():
    matched, patches, hidden = rows()
    matched.requires_grad_()
    (matching(matched, patches, hidden)[0].sum() + reconstruction(matched, patches, hidden).sum()).backward()
    assert matched.grad.isfinite().all()
    assert (matched.grad[~hidden] == 0).all()
    assert (matched.grad[hidden] != 0).any(1).all()
