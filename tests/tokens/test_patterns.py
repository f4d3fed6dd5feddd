import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2a.tokens.patterns import layout

SPECIAL = 99


@st.composite
def patterns(draw):
    codebooks = draw(st.integers(1, 6))
    delays = st.lists(st.integers(0, 7), min_size=codebooks, max_size=codebooks)
    return codebooks, draw(st.one_of(st.sampled_from(["parallel", "delay"]), delays))


@settings(max_examples=60, deadline=None)
@given(patterns(), st.integers(1, 12), st.integers(1, 3))
def test_revert_undoes_build_and_every_code_stands_exactly_once(pattern, frames, batch):
    codebooks, pattern = pattern
    codes = torch.randint(0, 50, (batch, codebooks, frames))
    placed = layout(pattern, codebooks, frames)
    steps = placed.build(codes, SPECIAL)
    assert torch.equal(placed.revert(steps), codes)
    assert placed.valid().sum() == codebooks * frames
    assert torch.equal(steps == SPECIAL, ~placed.valid().expand_as(steps))


def test_delay_shifts_each_codebook_by_one_more_step():
    codes = torch.tensor([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]])
    x = SPECIAL
    expected = torch.tensor([[[1, 2, 3, x, x], [x, 4, 5, 6, x], [x, x, 7, 8, 9]]])
    assert torch.equal(layout("delay", 3, 3).build(codes, x), expected)


def test_no_step_looks_at_a_later_frame_of_the_same_codebook():
    frame_at = layout([0, 2, 2], 3, 5).frame_at
    for row in frame_at:
        seen = row[row >= 0]
        assert torch.equal(seen, torch.arange(5))


def test_frames_past_the_length_are_special_and_invalid():
    codes = torch.arange(8).reshape(1, 2, 4).expand(2, -1, -1)
    placed = layout("delay", 2, 4)
    length = torch.tensor([2, 4])
    steps, valid = placed.build(codes, SPECIAL, length), placed.valid(length)
    assert steps[0].tolist() == [[0, 1, SPECIAL, SPECIAL, SPECIAL], [SPECIAL, 4, 5, SPECIAL, SPECIAL]]
    assert valid.sum((1, 2)).tolist() == [4, 8]
    assert torch.equal(valid, steps != SPECIAL)


@pytest.mark.parametrize("pattern", ["delays", [0, 1], [0, 1, -1]])
def test_a_pattern_that_does_not_fit_is_refused_with_the_remedy(pattern):
    with pytest.raises(ValueError, match=r"use one of|give 3 of them"):
        layout(pattern, 3, 5)


def test_codes_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\[2, 5\]"):
        layout("delay", 2, 4).build(torch.zeros(1, 2, 5, dtype=torch.int64), SPECIAL)
