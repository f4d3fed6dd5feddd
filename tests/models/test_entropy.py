import pytest
import torch

from t2a.models.entropy import EntropyConfig, EntropyModel

SMALL = {"codebooks": 3, "bins": 11, "past": 4, "width": 16, "layers": 1, "heads": 2}


@pytest.fixture(scope="module")
def model() -> EntropyModel:
    torch.manual_seed(0)
    made = EntropyModel(EntropyConfig.model_validate(SMALL)).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def changed(model: EntropyModel, frame: int, codebook: int) -> torch.Tensor:
    """Which logits [L, K] move when one code of nine frames does."""
    codes = torch.randint(0, 11, (1, 3, 9), generator=torch.Generator().manual_seed(1))
    other = codes.clone()
    other[0, codebook, frame] = (codes[0, codebook, frame] + 1) % 11
    with torch.no_grad():
        return (model(codes) - model(other))[0].abs().amax(-1) > 1e-6


@pytest.mark.parametrize("codebook", [0, 1, 2])
def test_a_code_is_seen_by_later_codebooks_of_its_frame_and_by_the_frames_that_look_back_so_far(model, codebook):
    moved = changed(model, frame=2, codebook=codebook)
    expected = torch.zeros(9, 3, dtype=torch.bool)
    expected[2, codebook + 1 :] = True
    expected[3:7] = True  # places 3 to 6: the last of them has frame 2 as the oldest of its four
    assert torch.equal(moved, expected)


def test_fewer_codebooks_are_foreseen_from_themselves_alone(model):
    codes = torch.randint(0, 11, (2, 2, 5))
    logits = model(codes)
    assert logits.shape == (2, 5, 2, 11)
    more = torch.cat([codes, torch.zeros_like(codes[:, :1])], dim=1)
    torch.testing.assert_close(model(more)[:, :1, :2], logits[:, :1])  # the first frame has no past that could differ


def test_it_starts_close_to_a_guess_without_any_knowledge():
    torch.manual_seed(0)
    model = EntropyModel(EntropyConfig(codebooks=4, bins=64, width=32, layers=2, heads=4))
    logits = model(torch.randint(0, 64, (2, 4, 20)))
    assert logits.std() < 0.3


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width 200 must be a multiple of heads = 7"):
        EntropyConfig(heads=7)
