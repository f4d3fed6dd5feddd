import torch

from t2a.tokens.channels import interleave, separate


def test_left_and_right_take_turns_codebook_by_codebook():
    left, right = torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6], [7, 8]])
    joined = interleave(torch.stack([left, right]), 2)
    assert joined.tolist() == [[[1, 2], [5, 6], [3, 4], [7, 8]]]
    assert separate(joined, 2).tolist() == [left.tolist(), right.tolist()]


def test_clips_stay_apart():
    codes = torch.randint(0, 9, (3 * 2, 4, 5))
    joined = interleave(codes, 2)
    assert joined.shape == (3, 8, 5)
    assert torch.equal(separate(joined, 2), codes)
    assert torch.equal(joined[1, ::2], codes[2])
    assert torch.equal(separate(joined, 1), joined)
