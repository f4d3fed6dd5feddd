from collections import Counter
from itertools import islice

import pytest

from t2a.data.plan import Plan, visits
from t2a.data.shards import Manifest, Shard
from t2a.errors import DataError


def manifest(*row_groups: tuple[int, ...], split: str = "train", sha: str = "0") -> Manifest:
    shards = [
        Shard(name=f"s{i}", split=split, rows=sum(g), seconds=1.0, bytes=1, sha256=sha, row_groups=g)
        for i, g in enumerate(row_groups)
    ]
    return Manifest(kind="audio", shards=tuple(shards))


CORPUS = manifest((3, 4), (5,), (2, 2, 2))
ALL = [("s0", 0), ("s0", 1), ("s1", 0), ("s2", 0), ("s2", 1), ("s2", 2)]


def test_each_epoch_visits_every_row_group_once_in_its_own_order():
    twelve = list(islice(visits(CORPUS, "train", seed=1), 12))
    first, second = ([(v.shard.name, v.row_group) for v in part] for part in (twelve[:6], twelve[6:]))
    assert [v.number for v in twelve] == list(range(12))
    assert [v.epoch for v in twelve] == [0] * 6 + [1] * 6
    assert Counter(first) == Counter(second) == Counter(ALL)
    assert first != second


def test_a_split_is_visited_without_a_row_of_another():
    """Peers train on what they validate with."""
    shards = [shard for split in ("train", "valid", "test") for shard in manifest((3, 4), (5,), split=split).shards]
    mixed = Manifest(kind="audio", shards=tuple(shards))
    for split in ("train", "valid", "test"):
        plan = Plan(mixed, split, seed=1)
        assert plan.rows_per_epoch == 12
        assert {visit.shard.split for visit in islice(plan.visits(), 9)} == {split}


def test_the_order_is_a_function_of_the_seed_and_can_start_anywhere():
    assert list(islice(visits(CORPUS, "train", 1, start=4), 5)) == list(islice(visits(CORPUS, "train", 1), 9))[4:]
    orders = {tuple(v.shard.name + str(v.row_group) for v in islice(visits(CORPUS, "train", s), 6)) for s in range(8)}
    assert len(orders) > 4


def test_empty_row_groups_are_no_visits():
    assert Plan(manifest((0, 3), (0,)), "train", 0).visit(0).rows == 3


def test_the_fingerprint_tells_corpora_and_seeds_apart():
    prints = {
        Plan(CORPUS, "train", 1).fingerprint,
        Plan(CORPUS, "train", 2).fingerprint,
        Plan(manifest((3, 4), (5,), (2, 2, 2), sha="1"), "train", 1).fingerprint,
        Plan(manifest((3, 4), (5,), (2, 2, 3)), "train", 1).fingerprint,
    }
    assert len(prints) == 4
    assert all(0 <= p < 2**63 for p in prints)
    assert Plan(CORPUS, "train", 1).fingerprint in prints


def test_windows_follow_each_other_and_hold_enough_rows_of_one_epoch():
    plan = Plan(CORPUS, "train", 1)
    windows = plan.windows(start=5, window=6, rows=40)
    assert 5 in windows[0]
    assert windows[0] in plan.windows(start=0, window=6, rows=40)
    assert [w.stop for w in windows[:-1]] == [w.start for w in windows[1:]]
    for window in windows:
        read = [plan.visit(n) for n in window]
        assert len({visit.epoch for visit in read}) == 1
        assert sum(visit.rows for visit in read[:-1]) < 6
        assert sum(visit.rows for visit in read) >= 6 or window.stop % 6 == 0
    assert 40 <= sum(plan.visit(n).rows for window in windows for n in window if n >= 5) < 40 + 6 + 5


@pytest.mark.parametrize("start", range(14))
def test_a_window_is_the_same_wherever_the_stream_is_taken_up(start):
    plan = Plan(CORPUS, "train", 1)
    whole, taken_up = (plan.windows(n, window=6, rows=40) for n in (0, start))
    assert start in taken_up[0]
    assert all(window in whole for window in taken_up if window.stop <= whole[-1].stop)


def test_a_missing_split_is_told_with_those_that_are_there():
    with pytest.raises(DataError, match=r"no rows in split 'test' \(it has: train\)"):
        Plan(CORPUS, "test", 0)
