import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2a.tokens.patterns import NAMED, layout

SPECIAL = 99


@st.composite
def orders(draw, codebooks):
    """Any partition of the codebooks into stages of steps, with delays."""
    left = draw(st.permutations(range(codebooks)))
    stages = []
    while left:
        stage = []
        for _ in range(draw(st.integers(1, len(left)))):
            count = draw(st.integers(0, len(left)))
            stage.append([(k, draw(st.integers(0, 3))) for k in left[:count]])
            left = left[count:]
        stages.append([*stage, *([[left.pop()]] if left else [])])
    return stages


@st.composite
def patterns(draw):
    codebooks = draw(st.integers(1, 6))
    delays = st.lists(st.integers(0, 7), min_size=codebooks, max_size=codebooks)
    return codebooks, draw(st.one_of(st.sampled_from(sorted(NAMED)), delays, orders(codebooks)))


@settings(max_examples=150, deadline=None)
@given(patterns(), st.integers(1, 12), st.lists(st.integers(0, 12), min_size=1, max_size=3))
def test_revert_undoes_build_and_every_code_stands_exactly_once(pattern, frames, lengths):
    codebooks, pattern = pattern
    length = torch.tensor(lengths).clamp(max=frames)
    codes = torch.randint(0, 50, (len(length), codebooks, frames))
    placed = layout(pattern, codebooks, frames)
    steps = placed.build(codes, SPECIAL)
    assert torch.equal(placed.revert(steps), codes)
    assert placed.valid().sum() == codebooks * frames
    assert torch.equal(steps == SPECIAL, ~placed.valid().expand_as(steps))
    cut = placed.build(codes, SPECIAL, length)
    inside = torch.arange(frames) < length[:, None, None]
    assert torch.equal(placed.revert(cut), codes.where(inside, SPECIAL))
    assert torch.equal(cut != SPECIAL, placed.valid(length))
    assert torch.equal(placed.valid(length).sum((1, 2)), codebooks * length)


@settings(max_examples=100, deadline=None)
@given(patterns(), st.integers(1, 12))
def test_every_codebook_is_predicted_frame_after_frame_and_the_last_step_holds_a_code(pattern, frames):
    placed = layout(pattern[1], pattern[0], frames)
    assert (placed.step_of.diff(dim=1) > 0).all()
    assert placed.valid()[:, -1].any()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("parallel", [[0, 1, 2], [0, 1, 2], [0, 1, 2]]),
        ("delay", [[0, 1, 2], [1, 2, 3], [2, 3, 4]]),
        ("partial_delay", [[0, 1, 2], [1, 2, 3], [1, 2, 3]]),
        ("flatten", [[0, 3, 6], [1, 4, 7], [2, 5, 8]]),
        ("partial_flatten", [[0, 2, 4], [1, 3, 5], [1, 3, 5]]),
        ("coarse_first", [[0, 1, 2], [3, 4, 5], [3, 4, 5]]),
        ([0, 0, 1], [[0, 1, 2], [0, 1, 2], [1, 2, 3]]),
        ([[[0]], [[1, [2, 1]]]], [[0, 1, 2], [3, 4, 5], [4, 5, 6]]),
        ([[[2], [0, 1]]], [[1, 3, 5], [1, 3, 5], [0, 2, 4]]),
    ],
)
def test_each_frame_stands_at_the_step_of_its_pattern(pattern, expected):
    assert layout(pattern, 3, 3).step_of.tolist() == expected


@pytest.mark.parametrize("pattern", sorted(NAMED))
def test_one_codebook_takes_one_step_a_frame_in_every_pattern(pattern):
    assert layout(pattern, 1, 5).step_of.tolist() == [[0, 1, 2, 3, 4]]


def test_delay_shifts_each_codebook_by_one_more_step():
    codes = torch.tensor([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]])
    x = SPECIAL
    expected = torch.tensor([[[1, 2, 3, x, x], [x, 4, 5, 6, x], [x, x, 7, 8, 9]]])
    assert torch.equal(layout("delay", 3, 3).build(codes, x), expected)


def test_frames_past_the_length_are_special_and_invalid():
    codes = torch.arange(8).reshape(1, 2, 4).expand(2, -1, -1)
    placed = layout("delay", 2, 4)
    length = torch.tensor([2, 4])
    steps, valid = placed.build(codes, SPECIAL, length), placed.valid(length)
    assert steps[0].tolist() == [[0, 1, SPECIAL, SPECIAL, SPECIAL], [SPECIAL, 4, 5, SPECIAL, SPECIAL]]
    assert valid.sum((1, 2)).tolist() == [4, 8]
    assert torch.equal(valid, steps != SPECIAL)


@pytest.mark.parametrize("pattern", ["delays", [0, 1], [0, 1, -1], [[[0, 1]]], [[[0, 1, 1]], [[2]]]])
def test_a_pattern_that_does_not_fit_is_refused_with_the_remedy(pattern):
    with pytest.raises(ValueError, match=r"use one of|give each of 3"):
        layout(pattern, 3, 5)


def test_codes_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 5\]"):
        layout("delay", 2, 4).build(torch.zeros(1, 2, 5, dtype=torch.int64), SPECIAL)
