import pytest

from t2a.data.skips import EXAMPLES, Skips
from t2a.errors import DataError


def skips_of(kept, **reasons):
    skips = Skips()
    skips.keep(kept)
    for reason, rows in reasons.items():
        for row in rows:
            skips.skip(reason, row)
    return skips


def test_rows_are_counted_by_reason_with_a_few_examples():
    skips = skips_of(10, undecodable=[f"a{i}" for i in range(8)], silent=["b"])
    assert skips.counts == {"undecodable": 8, "silent": 1}
    assert skips.examples == {"undecodable": ["a0", "a1", "a2", "a3", "a4"], "silent": ["b"]}
    assert skips.skipped == 9
    assert skips.share == pytest.approx(9 / 19)


def test_merging_adds_counts_and_keeps_examples_bounded():
    one, other = skips_of(3, silent=["a", "b", "c"]), skips_of(4, silent=["d", "e", "f"], empty=["g"])
    one.merge(other)
    assert (one.kept, one.counts) == (7, {"silent": 6, "empty": 1})
    assert one.examples["silent"] == ["a", "b", "c", "d", "e"]
    assert len(one.examples["silent"]) == EXAMPLES
    assert other.examples["silent"] == ["d", "e", "f"]


def test_a_run_stops_above_the_accepted_share_naming_examples():
    skips = skips_of(94, undecodable=["x.wav", "y.wav"], silent=["z.wav"] * 4)
    skips.check(0.06)
    with pytest.raises(DataError, match=r"corpus: 6 of 100 rows.*5\.0%.*2 undecodable \(x\.wav, y\.wav\); 4 silent"):
        skips.check(0.05, "corpus")


def test_the_verdict_waits_for_the_grace():
    skips = skips_of(1, silent=["a"])
    skips.check(0.05, grace=2)
    skips.keep()
    with pytest.raises(DataError):
        skips.check(0.05, grace=2)


def test_no_row_at_all_is_no_reason_to_stop():
    Skips().check(0.0)


def test_json_round_trip_is_independent():
    skips = skips_of(2, silent=["a"])
    values = skips.to_json()
    copy = Skips.from_json(values)
    copy.skip("silent", "b")
    assert skips.counts == {"silent": 1}
    assert values == {"kept": 2, "counts": {"silent": 1}, "examples": {"silent": ["a"]}}
