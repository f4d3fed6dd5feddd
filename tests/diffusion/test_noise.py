import torch

from t2a.diffusion.noise import Noise


def test_a_row_s_noise_depends_on_its_seed_and_length_alone():
    batch = Noise([5, 6, 5], (3, 2), [4, 6, 4], frames=9)
    alone = [Noise([seed], (3, 2), [length]) for seed, length in ((5, 4), (6, 6), (5, 4))]
    for _ in range(3):
        drawn, own = batch(), [noise() for noise in alone]
        assert drawn.shape == (3, 3, 2, 9)
        for row, found, length in zip(drawn, own, (4, 6, 4), strict=True):
            assert torch.equal(row[..., :length], found[0])


def test_seeds_differ():
    first, second = Noise([5, 6], (3,), [4, 4])()
    assert not torch.equal(first, second)


def test_every_draw_is_new_and_standard_normal():
    noise = Noise([0], (8,), [2000])
    first, second = noise(), noise()
    assert abs((first * second).mean()) < 0.03
    assert abs(first.mean()) < 0.03
    assert abs(first.std() - 1) < 0.03


def test_there_is_no_noise_past_a_row_s_length():
    drawn = Noise([1, 2], (3,), [2, 5])()
    assert (drawn[0, :, 2:] == 0).all()
    assert (drawn[1] != 0).all()
