import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2a.data.position import Position
from t2a.errors import DataError

PLAN = 7


def take(position: Position, *rows: tuple[int, int], size: int = 4) -> None:
    position.consumed([v for v, _ in rows], [p for _, p in rows], [size] * len(rows), PLAN)


def test_the_cursor_passes_visits_that_are_wholly_consumed():
    position = Position()
    take(position, (1, 0), (1, 1), (1, 2), (1, 3), (0, 0), (0, 3))
    assert position.cursor == 0
    assert position.rows_beyond() == 6
    take(position, (0, 1), (0, 2))
    assert (position.cursor, position.rows_beyond()) == (2, 0)
    assert position.contains(1, 3)
    assert not position.contains(2, 0)


@given(st.permutations([(v, p) for v in range(5) for p in range(4)]), st.integers(1, 4), st.integers(0, 20))
def test_merged_ranks_hold_exactly_what_any_of_them_consumed(rows, world, until):
    ranks = [Position() for _ in range(world)]
    for i, row in enumerate(rows[:until]):
        take(ranks[i % world], row)
    stored = [json.loads(json.dumps(rank.to_json())) for rank in ranks]
    merged = Position.merge([Position.from_json(values) for values in stored])
    assert {row for row in rows if merged.contains(*row)} == set(rows[:until])
    complete = [v for v in range(5) if all((v, p) in rows[:until] for p in range(4))]
    assert merged.cursor == next(v for v in range(6) if v not in complete)
    assert merged.rows_beyond() == until - 4 * merged.cursor


def test_merging_counts_what_was_skipped_before_and_since_once():
    start = Position()
    start.skips.skip("empty", "a", 3)
    ranks = [start.copy(), start.copy(), start.copy()]
    for i, rank in enumerate(ranks):
        rank.fresh.skip("undecodable", f"b{i}")
        rank.fresh.keep(10)
    merged = Position.merge(ranks)
    assert merged.skips.counts == {"empty": 3, "undecodable": 3}
    assert merged.skips.kept == 30
    assert merged.fresh.skipped == 0


def test_a_position_is_not_mixed_with_another_plan():
    position = Position()
    take(position, (0, 0))
    with pytest.raises(DataError, match="the corpus, its split or the seed changed"):
        position.consumed([0], [1], [4], PLAN + 1)
    other = Position()
    other.belongs(PLAN + 1)
    with pytest.raises(DataError):
        Position.merge([position, other])
    assert Position.merge([position, Position()]).plan == PLAN


def test_a_later_format_is_refused():
    with pytest.raises(DataError, match="format 2"):
        Position.from_json(Position().to_json() | {"version": 2})


def test_a_mask_of_a_large_row_group_stays_small():
    position = Position()
    take(position, *((5, p) for p in range(0, 8000, 2)), size=8000)
    assert len(json.dumps(position.to_json())) < 8000 / 4 + 300
