from itertools import islice

import pytest

from t2a.data.schema import SPLITS
from t2a.data.splits import Drawn, every_split, split_of
from t2a.errors import DataError


def item(name: str, split: str | None = None, piece: int = 0) -> Drawn:
    row = {"id": f"{name}#{piece}", "audio": {"bytes": b"x"}, "split": split or split_of(name)}
    return Drawn(row, name, split is None)


def splits(items: list[Drawn]) -> dict[str, str]:
    return {row["id"]: row["split"] for row in every_split(items)}


def test_splits_are_stable_and_about_one_in_twenty():
    assert [split_of(f"x{i}") for i in range(12)] == [split_of(f"x{i}") for i in range(12)]
    drawn = [split_of(f"clip {i}") for i in range(4000)]
    for name in ("test", "valid"):
        assert 0.035 < drawn.count(name) / 4000 < 0.065


def test_a_corpus_in_which_every_split_is_drawn_is_left_as_drawn() -> None:
    names = [f"clip {i}" for i in range(200)]
    assert splits([item(name) for name in names]) == {f"{name}#0": split_of(name) for name in names}


@pytest.mark.parametrize("count", range(3, 30))
def test_a_small_corpus_has_every_split_and_keeps_most_for_training(count: int) -> None:
    names = [f"a{i}" for i in range(count)]
    found = splits([item(name) for name in names])
    assert set(found.values()) == set(SPLITS)
    assert list(found) == [f"{name}#0" for name in names]
    moved = [name for name in names if found[f"{name}#0"] != split_of(name)]
    assert len(moved) <= 2
    assert found == splits([item(name) for name in reversed(names)])


def test_pieces_move_together() -> None:
    found = splits([item(name, piece=piece) for name in ("a", "b", "c") for piece in range(4)])
    assert set(found.values()) == set(SPLITS)
    for name in ("a", "b", "c"):
        assert len({found[f"{name}#{piece}"] for piece in range(4)}) == 1


def test_given_splits_stay_and_are_filled_from_what_was_drawn() -> None:
    given = {f"g{i}#0": "train" for i in range(5)}
    assert splits([item(name[:-2], "train") for name in given]) == given
    drawn = [item(f"a{i}") for i in range(4)]
    found = splits([*drawn, *(item(name[:-2], "valid") for name in given)])
    assert {name: found[name] for name in given} == dict.fromkeys(given, "valid")
    assert set(found.values()) == set(SPLITS)


def test_too_few_recordings_are_told() -> None:
    for count in (1, 2):
        with pytest.raises(DataError, match=f"Only {count} recordings are usable.* add some"):
            splits([item(f"a{i}") for i in range(count)])


def test_a_large_corpus_streams() -> None:
    taken = []
    names = (f"clip {i}" for i in range(100_000))
    stream = every_split(taken.append(name) or item(name) for name in names)
    assert len(list(islice(stream, 10))) == 10
    assert len(taken) < 500
