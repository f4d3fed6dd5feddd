import torch

from t2a.nn.seeding import seeded


def test_seeds_that_differ_in_their_high_bits_give_other_numbers():
    drawn = [torch.rand(4, generator=seeded(seed)) for seed in (7, 7 + 2**32, 7 + 2**62, 2**63 - 1)]
    assert len({tuple(numbers.tolist()) for numbers in drawn}) == 4
    assert torch.equal(drawn[0], torch.rand(4, generator=torch.Generator().manual_seed(7)))
    assert torch.equal(drawn[1], torch.rand(4, generator=seeded(7 + 2**32)))
