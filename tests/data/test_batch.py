import json
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from t2a.data.batch import batches, held_out
from t2a.data.position import Position
from t2a.data.rows import PATIENCE, AudioConfig, CodesConfig, LatentsConfig
from t2a.errors import DataError

CONFIG = AudioConfig(uri="corpus", sample_rate=8000, crop_seconds=0.001)


def block(visit: int, bad: dict[int, str] | None = None, rows: int = 6, epoch: int = 0) -> dict[str, np.ndarray]:
    """A visit as one block; `bad` maps places to reasons, a row's samples hold its place."""
    places = np.arange(rows)
    reasons = [(bad or {}).get(place, "") for place in range(rows)]
    return {
        "visit": np.full(rows, visit),
        "place": places,
        "rows": np.full(rows, rows),
        "epoch": np.full(rows, epoch),
        "plan": np.full(rows, 7),
        "id": np.array([f"{visit}.{place}" for place in places], object),
        "reason": np.array(reasons, object),
        "caption": np.array([f"row {place}" for place in places], object),
        "said": np.array([json.dumps([f"row {place}", "a row"]) for place in places], object),
        "length": np.full(rows, 8),
        "audio": np.broadcast_to(places.astype(np.int16)[:, None, None] * 4096, (rows, 1, 8)),
    }


def test_a_batch_is_what_tasks_are_promised():
    batch = next(batches([block(0)], CONFIG, 4, Position()))
    assert batch["audio"].dtype == torch.float32
    assert batch["audio"].shape == (4, 1, 8)
    assert batch["audio"][:, 0, 0].tolist() == [0, 0.125, 0.25, 0.375]
    assert batch["length"].dtype == torch.int64
    assert batch["length"].tolist() == [8] * 4
    assert batch["ids"] == ["0.0", "0.1", "0.2", "0.3"]
    assert batch["captions"][3] == "row 3"
    assert batch["said"][3] == ["row 3", "a row"]
    assert set(batch) == {"audio", "length", "captions", "said", "ids", "states"}
    assert batch["states"] == {}


def test_codes_become_int64_whatever_their_bits():
    config = CodesConfig(uri="-", codebooks=2, crop_frames=3)
    rows = block(0) | {"codes": np.full((6, 2, 3), 65535, np.uint16)}
    codes = next(batches([rows], config, 6, Position()))["codes"]
    assert codes.dtype == torch.int64
    assert (codes == 65535).all()


def test_latents_become_float32():
    config = LatentsConfig(uri="-", latent=(2, 4), crop_frames=3)
    rows = block(0) | {"latents": np.full((6, 2, 4, 3), 0.5, np.float16)}
    latents = next(batches([rows], config, 6, Position()))["latents"]
    assert (latents.dtype, latents.shape) == (torch.float32, (6, 2, 4, 3))
    assert (latents == 0.5).all()


def test_batches_run_across_blocks_and_leave_a_rest():
    taken = [batch["ids"] for batch in batches([block(0), block(1), block(2)], CONFIG, 4, Position())]
    assert taken[1] == ["0.4", "0.5", "1.0", "1.1"]
    assert len(taken) == 4


def test_only_what_was_taken_is_consumed():
    rows = batches([block(0), block(1)], CONFIG, 4, Position())
    assert rows.position.rows_beyond() == 0
    next(rows)
    assert [rows.position.contains(0, p) for p in range(6)] == [True] * 4 + [False] * 2
    next(rows)
    assert rows.position.cursor == 1
    assert rows.position.rows_beyond() == 2
    next(rows)
    with pytest.raises(StopIteration):
        next(rows)
    assert rows.position.cursor == 2


def test_a_rest_at_the_end_stays_unconsumed():
    rows = batches([block(0)], CONFIG, 4, Position())
    assert len(list(rows)) == 1
    assert not rows.position.contains(0, 4)


def test_unusable_rows_are_left_out_counted_once_and_consumed_with_the_batch():
    config = CONFIG.model_copy(update={"max_skipped": 1.0})
    rows = batches([block(0, {1: "empty", 2: "undecodable"}), block(1, {0: "empty"})], config, 4, Position())
    assert next(rows)["ids"] == ["0.0", "0.3", "0.4", "0.5"]
    assert rows.position.cursor == 1
    assert rows.position.fresh.counts == {"empty": 1, "undecodable": 1}
    assert rows.position.fresh.kept == 4
    next(rows)
    assert rows.position.fresh.counts == {"empty": 2, "undecodable": 1}


def test_rows_that_the_position_holds_are_left_out():
    first = batches([block(0), block(1)], CONFIG, 4, Position())
    next(first)
    again = batches([block(0), block(1)], CONFIG, 4, first.position)
    assert next(again)["ids"] == ["0.4", "0.5", "1.0", "1.1"]
    assert again.position.fresh.kept == 8


def test_rebasing_forgets_nothing_and_counts_nothing_twice():
    rows = batches([block(0), block(1)], CONFIG, 4, Position())
    next(rows)
    rows.rebase(Position.merge([rows.position]))
    next(rows)
    merged = Position.merge([rows.position])
    assert merged.skips.kept == 8
    assert merged.cursor == 1


def test_waiting_for_data_is_measured():
    def slow() -> Iterator[dict[str, np.ndarray]]:
        for visit in range(2):
            time.sleep(0.05)
            yield block(visit)

    rows = batches(slow(), CONFIG, 4, Position())
    waits = []
    for _ in range(3):
        next(rows)
        waits.append(rows.wait)
    assert 0.045 < waits[0] < 0.2
    assert 0.045 < waits[1] < 0.2
    assert waits[2] == 0


def test_too_many_unusable_rows_stop_the_run_when_an_epoch_is_over():
    blocks = [block(0, {1: "empty"}), block(1, epoch=1)]
    rows = batches(blocks, CONFIG, 4, Position())
    next(rows)
    with pytest.raises(DataError, match=r"corpus: 1 of 6 rows .* 1 empty \(0\.1\)"):
        next(rows)
    tolerant = CONFIG.model_copy(update={"max_skipped": 0.2})
    assert len(list(batches(blocks, tolerant, 4, Position()))) == 2


def test_a_broken_corpus_stops_the_run_before_its_epoch_is_over():
    all_bad = dict.fromkeys(range(50), "undecodable")
    blocks = (block(n, all_bad, rows=50) for n in range(10**6))
    with pytest.raises(DataError, match="undecodable"):
        next(batches(blocks, CONFIG, 4, Position()))
    assert next(blocks)["visit"][0] <= PATIENCE * CONFIG.max_skipped / 50 + 2


def test_one_damaged_row_group_does_not_stop_a_large_corpus():
    blocks = (block(n, dict.fromkeys(range(50), "shard damaged") if n == 1 else {}, rows=50) for n in range(100))
    assert len(list(batches(blocks, CONFIG, 50, Position()))) == 99


@pytest.mark.parametrize(("world", "limit"), [(1, 100), (2, 100), (3, 23), (4, 5)])
def test_every_rank_evaluates_its_own_rows_in_an_equal_number_of_batches(tones, world, limit):
    uri, _ = tones(40)
    config = AudioConfig(uri=uri, sample_rate=8000, crop_seconds=0.2)
    ranks = [held_out(config, "train", 4, rank, world, limit) for rank in range(world)]
    assert len({len(rank) for rank in ranks}) == 1
    rows = [row for rank in ranks for batch in rank for row in zip(batch["ids"], batch["weight"].tolist(), strict=True)]
    assert [row for row, weight in rows if weight] == [f"clip-{i:04d}" for i in range(min(limit, 40))]
    assert all(batch["audio"].shape == (4, 1, 1600) for rank in ranks for batch in rank)
    assert ranks[0][0]["captions"][0] == "a tone, number 0"


def test_held_out_rows_are_of_their_split_alone(tones, tone):
    uri, _ = tones(6, rows=[tone(i) | {"split": "valid" if i % 3 == 0 else "train"} for i in range(6)])
    config = AudioConfig(uri=uri, sample_rate=8000, crop_seconds=0.1)
    for split, ids in (("valid", {0, 3}), ("train", {1, 2, 4, 5})):
        (batch,) = held_out(config, split, 8, 0, 1, 8)
        found = {name for name, weight in zip(batch["ids"], batch["weight"].tolist(), strict=True) if weight}
        assert found == {f"clip-{i:04d}" for i in ids}


def test_held_out_rows_are_always_the_same(tones):
    uri, _ = tones(8)
    config = AudioConfig(uri=uri, sample_rate=8000, crop_seconds=0.1)
    first, second = (held_out(config, "train", 8, 0, 1, 8) for _ in range(2))
    assert torch.equal(first[0]["audio"], second[0]["audio"])


def test_an_unusable_held_out_row_has_no_weight_and_is_told(tones, tone, caplog):
    rows = [tone(i) for i in range(40)]
    rows[3]["audio"]["bytes"] = b"not a sound"
    uri, _ = tones(40, rows=rows)
    config = AudioConfig(uri=uri, sample_rate=8000, crop_seconds=0.1)
    batch = held_out(config, "train", 8, 0, 1, 40)[0]
    assert batch["weight"].tolist() == [1, 1, 1, 0, 1, 1, 1, 1]
    assert "undecodable" in caplog.text
    strict = config.model_copy(update={"max_skipped": 0.0})
    with pytest.raises(DataError, match="clip-0003"):
        held_out(strict, "train", 8, 0, 1, 40)


def test_evaluating_on_a_split_that_is_not_there_is_an_error(tones):
    uri, _ = tones(5)
    with pytest.raises(DataError, match="no rows in split 'valid'"):
        held_out(AudioConfig(uri=uri, crop_seconds=0.1), "valid", 4, 0, 1, 10)
