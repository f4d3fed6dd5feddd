import pytest
import torch

from t2a.nn.frames import real_frames, row_mean


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5)])
def test_the_mean_of_a_row_is_that_of_its_real_frames(shape):
    values, length = torch.randn(shape), torch.tensor([5, 2])
    real = real_frames(length, values)
    values[1, ..., 2:] = torch.nan  # nobody looks at it
    expected = torch.stack([values[0].mean(), values[1, ..., :2].mean()])
    torch.testing.assert_close(row_mean(values, real), expected)


def test_a_row_without_a_frame_has_the_mean_0():
    values = torch.ones(1, 3, 5)
    assert row_mean(values, real_frames(torch.tensor([0]), values)).item() == 0
