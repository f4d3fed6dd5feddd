import pytest
import torch
from torch import nn

from t2a.nn.frames import doubled, halved, held, mask_of, masked
from t2a.nn.resnet import Downsample, GroupNorm, PictureAttention, ResidualBlock, Upsample

LENGTHS = [9, 12, 4]
LAYERS = {
    "norm": (GroupNorm(2, 4), lambda mask: mask),
    "block": (ResidualBlock(4, 6, groups=2), lambda mask: mask),
    "attention": (PictureAttention(4, heads=2, groups=2), lambda mask: mask),
    "down": (Downsample(4), halved),
    "symmetric down": (Downsample(4, symmetric=True), halved),
    "up": (Upsample(4), doubled),
}


@pytest.mark.parametrize("name", LAYERS)
def test_real_frames_come_out_as_those_of_a_picture_by_itself(name):
    layer, after = LAYERS[name]
    pictures = torch.randn(3, 4, 6, 12, generator=torch.Generator().manual_seed(0))
    mask = mask_of(torch.tensor(LENGTHS), 12)
    made = layer(pictures, doubled(mask) if name == "up" else mask)
    left = after(mask)
    for row, length in enumerate(LENGTHS):
        alone = layer(pictures[row : row + 1, ..., :length])[0]
        frames = int(left[row].sum())
        # Padded only after its end, a picture of odd length loses the last frame, which a longer one keeps.
        assert alone.shape[-1] in (frames, frames - 1)
        torch.testing.assert_close(made[row, ..., : alone.shape[-1]], alone, rtol=1e-4, atol=1e-5)


def test_group_norm_without_a_mask_is_torch_s():
    ours, x = GroupNorm(2, 4), torch.randn(2, 4, 3, 5)
    nn.init.normal_(ours.weight)
    theirs = nn.GroupNorm(2, 4)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(x), theirs(x))
    torch.testing.assert_close(ours(x, torch.ones(2, 5, dtype=torch.bool)), theirs(x))


def test_the_last_frame_is_held_and_what_is_not_real_is_zero():
    x = torch.arange(6.0).view(1, 1, 6).repeat(2, 1, 1)
    assert held(x, torch.tensor([6, 3]), 8)[:, 0].tolist() == [[0, 1, 2, 3, 4, 5, 5, 5], [0, 1, 2, 2, 2, 2, 2, 2]]
    assert held(x, None, 7)[0, 0].tolist() == [0, 1, 2, 3, 4, 5, 5]
    assert mask_of(torch.tensor([6, 9]), 6) is None
    assert masked(x, mask_of(torch.tensor([6, 2]), 6))[1, 0].tolist() == [0, 1, 0, 0, 0, 0]
