import numpy as np
import pytest

from t2a.data.skips import UnusableError
from t2a.data.states import MISSING, StatesColumn, none, pack_states, states_of, unpack_states

TEXT = StatesColumn(encoder={"kind": "t5"}, fingerprint="a", reads="captions", width=3)
TUNE = StatesColumn(encoder={"kind": "chroma"}, fingerprint="b", reads="sounds", width=2, rate=4.0)
WHOLE = TUNE.model_copy(update={"rate": None})


def states(count: int, width: int, first: float = 0.0) -> np.ndarray:
    return first + np.arange(count * width, dtype=np.float32).reshape(count, width)


def a_row(**changes) -> dict:
    row = {
        "captions": ["rain", "a dog"],
        "frame_rate": 10.0,
        "states_text": [pack_states(states(2, 3)), pack_states(states(4, 3, 50))],
        "states_tune": [pack_states(states(21, 2))],
    }
    return row | changes


def test_states_come_back_in_half_precision():
    given = np.random.default_rng(0).standard_normal((5, 7))
    found = unpack_states(pack_states(given))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, given, rtol=1e-3)
    assert unpack_states(none(TEXT)).shape == (0, 3)


def test_numbers_beyond_half_precision_are_refused():
    with pytest.raises(ValueError, match="float16"):
        pack_states(np.array([[70000.0]]))


def test_a_text_has_the_states_of_its_caption():
    for text, expected in (("rain", states(2, 3)), ("a dog", states(4, 3, 50)), ("", states(0, 3))):
        found = states_of({"text": TEXT}, a_row(), text, 0, 10)
        np.testing.assert_array_equal(unpack_states(found["text"]), expected)


def test_a_text_that_was_written_anew_has_none():
    assert states_of({"text": TEXT}, a_row(), "A DOG", 0, 10) == {"text": MISSING}
    assert states_of({"text": TEXT}, a_row(states_text=None), "rain", 0, 10) == {"text": MISSING}


def test_a_crop_has_its_part_of_the_sound_s_states():
    whole = states(21, 2)  # of 5 s
    for start, length, expected in ((0, 50, whole), (20, 10, whole[8:13]), (40, 10, whole[16:21])):
        found = states_of({"tune": TUNE}, a_row(), "rain", start, length)
        np.testing.assert_array_equal(unpack_states(found["tune"]), expected)
    found = states_of({"tune": WHOLE}, a_row(), "rain", 20, 10)
    np.testing.assert_array_equal(unpack_states(found["tune"]), whole)


def test_a_damaged_cell_makes_the_row_unusable():
    with pytest.raises(UnusableError, match="undecodable states"):
        states_of({"tune": TUNE}, a_row(states_tune=[b"abc"]), "rain", 0, 10)
