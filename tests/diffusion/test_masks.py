import pytest
import torch

from t2a.config import validate
from t2a.diffusion.masks import MaskConfig, beside, shown
from t2a.errors import ConfigError


def draw(rows: int, shape: tuple[int, ...], **config) -> torch.Tensor:
    lengths = torch.full((rows,), shape[-1])
    return shown(MaskConfig(**config), shape, lengths, [torch.Generator().manual_seed(i) for i in range(rows)])


def runs(hidden: torch.Tensor) -> int:
    """Stretches of a row [L] that are hidden."""
    padded = torch.cat([hidden.new_zeros(1), hidden]).int()
    return int((padded.diff() == 1).sum())


def test_gaps_are_stretches_of_time_of_the_asked_number_and_size():
    masks = draw(400, (3, 4, 50), gaps=1.0, all=0.0, count=(1, 2), size=(0.1, 0.3))
    assert masks.shape == (400, 1, 4, 50)
    assert torch.equal(masks, masks[:, :, :1].expand_as(masks))
    hidden = ~masks[:, 0, 0]
    counts = torch.tensor([runs(row) for row in hidden])
    assert set(counts.tolist()) == {1, 2}  # two may touch each other
    alone = hidden[counts == 1].sum(1)
    assert (int(alone.min()), int(hidden.sum(1).max())) >= (5, 15)
    assert hidden.sum(1).max() <= 30
    assert hidden.any(0).all()  # both ends are hidden now and then


def test_boxes_leave_some_bands_of_a_frame():
    masks = draw(100, (3, 10, 50), boxes=1.0, gaps=0.0, all=0.0, count=(1, 1))
    hidden = ~masks[:, 0]
    for row in hidden:
        across, along = row.any(1), row.any(0)
        assert torch.equal(row, across[:, None] & along)
        assert runs(across) == runs(along) == 1
    assert (hidden.any(2) & ~hidden.all(2)).any(1).all()


def test_kinds_come_in_their_shares():
    masks = draw(2000, (3, 10, 40), gaps=0.5, boxes=0.3, all=0.2, size=(0.1, 0.3))[:, 0]
    nothing = ~masks.any((1, 2))
    across = (masks == masks[:, :1]).all((1, 2)) & ~nothing
    shares = [float(part.float().mean()) for part in (nothing, across)]
    assert shares == pytest.approx([0.2, 0.5], abs=0.04)


def test_a_row_s_mask_depends_on_its_generator_and_length_alone():
    lengths = torch.tensor([7, 20, 1])
    draws = [torch.Generator().manual_seed(seed) for seed in (3, 4, 5)]
    together = shown(MaskConfig(), (2, 20), lengths, draws)
    alone = shown(MaskConfig(), (2, 7), lengths[:1], [torch.Generator().manual_seed(3)])
    assert torch.equal(together[0, ..., :7], alone[0])
    assert not together[0, ..., 7:].any()
    torch.manual_seed(0)
    first = shown(MaskConfig(), (2, 20), lengths, [None] * 3)
    assert not torch.equal(first, shown(MaskConfig(), (2, 20), lengths, [None] * 3))
    torch.manual_seed(0)
    assert torch.equal(first, shown(MaskConfig(), (2, 20), lengths, [None] * 3))


def test_what_is_hidden_is_zero_beside_its_mask_whatever_it_was():
    latent = torch.randn(2, 3, 4, 5)
    keep = torch.rand(2, 1, 4, 5) > 0.5
    found = beside(latent.masked_fill(~keep, torch.nan), keep)
    assert torch.equal(found[:, :3], latent * keep)
    assert torch.equal(found[:, 3:], keep.float())
    assert beside(latent, torch.ones(2, 1, 1, 5, dtype=torch.bool)).shape == (2, 4, 4, 5)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"gaps": 0.9}, "must add up to 1"),
        ({"count": [3, 1]}, "lower bound first"),
        ({"size": [0.5, 0.1]}, "lower bound"),
    ],
)
def test_masks_that_mean_nothing_are_refused(config, told):
    with pytest.raises(ConfigError, match=told):
        validate(MaskConfig, config, "test")
