import json
import re
import shutil
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import ray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2a.data import pipeline
from t2a.data.batch import Batches, batches, held_out
from t2a.data.captions import CaptionConfig
from t2a.data.mixing import MixConfig
from t2a.data.plan import Plan
from t2a.data.position import Position
from t2a.data.rows import AudioConfig, CodesConfig, DataConfig
from t2a.data.schema import pack_codes
from t2a.data.shards import Manifest, ShardBounds, read_manifest, write_shards
from t2a.errors import DataError
from tests.data.conftest import flac

SEED = 3
BLOCK_ROWS = 4


def blocks(config: DataConfig, position: Position, manifest: Manifest, rows: int) -> Iterator[dict[str, np.ndarray]]:
    """What Ray's readers give, one after the other."""
    plan = Plan(manifest, config.split, SEED)
    for window in plan.windows(position.cursor, config.window, rows):
        task = {"first": np.array([window.start]), "stop": np.array([window.stop])}
        yield from pipeline._read(task, config=config, plan=plan, position=position, block_rows=BLOCK_ROWS)


class Splitter:
    """Hands each block to the rank that has had the fewest rows, as Ray's equal split does."""

    def __init__(self, stream: Iterator[dict[str, np.ndarray]], world: int) -> None:
        self.stream = stream
        self.queues: list[deque] = [deque() for _ in range(world)]
        self.given = [0] * world

    def rank(self, index: int) -> Iterator[dict[str, np.ndarray]]:
        while True:
            while not self.queues[index]:
                block = next(self.stream, None)
                if block is None:
                    return
                least = self.given.index(min(self.given))
                self.queues[least].append(block)
                self.given[least] += len(block["visit"])
            yield self.queues[index].popleft()


@dataclass
class Run:
    """A training run that only notes what it was fed; what a kill undoes is forgotten."""

    config: DataConfig
    manifest: Manifest
    position: Position = field(default_factory=Position)
    history: list[str] = field(default_factory=list)  # of the weights that survive
    largest: int = 0  # rows beyond the cursor of any checkpoint

    def go(self, world: int, steps: int, every: int) -> None:
        """Train with `world` ranks until a kill after `steps` steps, saving after each `every` steps."""
        stream = blocks(self.config, self.position, self.manifest, rows=1000)
        splitter = Splitter(stream, world)
        ranks = [Batches(splitter.rank(i), self.config, 2, self.position) for i in range(world)]
        unsaved: list[str] = []
        for step in range(1, steps + 1):
            for rank in ranks:
                unsaved += next(rank)["ids"]
            if step % every == 0:
                stored = [rank.position.to_json() for rank in ranks]
                self.position = Position.merge([Position.from_json(values) for values in stored])
                self.history += unsaved
                unsaved = []
                self.largest = max(self.largest, self.position.rows_beyond())


@pytest.fixture(scope="module")
def code_corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[CodesConfig, Manifest, set[str]]:
    """Sixty-one rows in row groups of five, three of them unusable; (config, manifest, usable ids)."""
    uri = str(tmp_path_factory.mktemp("codes"))
    row = {
        "frame_rate": 50.0,
        "seconds": 0.1,
        "captions": ["x"],
        "source": "made",
        "licence": "CC0-1.0",
        "split": "train",
    }
    rows = [row | {"id": f"{i}", "codes": pack_codes(np.full((1, 5), i))} for i in range(61)]
    for i in (7, 30, 31):
        rows[i]["codes"] = {"bytes": b"", "codebooks": 1}
    manifest = write_shards(rows, uri, "codes", bounds=ShardBounds(group_rows=5, shard_bytes=3000))
    config = CodesConfig(uri=uri, codebooks=1, crop_frames=3, window=12, max_skipped=1, threads=1)
    return config, manifest, {f"{i}" for i in range(61)} - {"7", "30", "31"}


segments = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 4)), min_size=1, max_size=6)


@given(segments)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_seen_once_an_epoch_whatever_is_killed_and_however_many_ranks_there_are(code_corpus, segments):
    config, manifest, usable = code_corpus
    run = Run(config, manifest)
    for world, steps, every in segments:
        run.go(world, steps, every)
    while run.position.cursor < 13:  # to the end of the first epoch, which has 13 row groups
        run.go(2, 2, 1)
    counts = Counter(run.history)
    plan = Plan(manifest, "train", SEED)
    whole = run.position.cursor // 13
    begun = [plan.visit(n) for n in range(whole * 13, run.position.cursor)]
    furthest = plan.visit(max(run.position.seen, default=run.position.cursor - 1)).epoch
    bad = run.position.skips.counts["empty"]
    assert set(counts) == usable
    assert whole <= min(counts.values()) <= max(counts.values()) <= furthest + 1
    assert len(run.history) + bad == whole * 61 + sum(visit.rows for visit in begun) + run.position.rows_beyond()
    assert whole * 3 <= bad <= (furthest + 1) * 3
    assert run.position.skips.kept == len(run.history)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_position_stays_as_small_as_the_window_and_the_blocks_in_flight(code_corpus, world):
    config, manifest, _ = code_corpus
    run = Run(config, manifest)
    run.go(world, steps=100 // world, every=1)
    window = config.window - 1 + 5
    assert 0 < run.largest <= 2 * window + world * (BLOCK_ROWS + 2)


def test_without_shuffling_windows_are_still_whole_row_groups_in_another_order(code_corpus):
    config, manifest, _ = code_corpus
    wide = config.model_copy(update={"window": 60})
    ids = [i for block in blocks(wide, Position(), manifest, 60) for i in block["id"]]
    assert sorted(ids, key=int) == sorted({*ids}, key=int)
    neighbours = sum(abs(int(a) - int(b)) == 1 for a, b in pairwise(ids))
    assert neighbours < 15  # of 60, were the rows of a group still together it would be 48


def test_a_crop_depends_on_seed_visit_and_place_alone(tones):
    uri, manifest = tones(20, rows=None)
    config = AudioConfig(uri=uri, sample_rate=8000, crop_seconds=0.1, window=10)
    narrow = config.model_copy(update={"window": 1, "threads": 1})

    one, other = (examples(each, manifest, Position(), 20) for each in (config, narrow))
    assert len({audio for audio, _, _ in one.values()}) == 20
    assert all(one[key] == other[key] for key in one.keys() & other.keys())


Example = tuple[bytes, str, int]


def examples(config: DataConfig, manifest: Manifest, position: Position, rows: int) -> dict[tuple[int, int], Example]:
    """What is read from a position on: (visit, place) -> (sound, caption, length)."""
    return {
        (int(b["visit"][i]), int(b["place"][i])): (b["audio"][i].tobytes(), str(b["caption"][i]), int(b["length"][i]))
        for b in blocks(config, position, manifest, rows)
        for i in range(len(b["visit"]))
    }


def mixing(uri: str, probability: float = 0.5, **changes) -> AudioConfig:
    """Windows of at least 10 rows, two row groups."""
    mix = MixConfig(probability=probability)
    return AudioConfig(uri=uri, sample_rate=8000, crop_seconds=0.2, window=10, mix=mix, **changes)


def test_a_share_of_the_rows_is_mixed_with_another_of_their_window_and_tells_both(tones):
    uri, manifest = tones(200)
    config = mixing(uri)
    plain = examples(config.model_copy(update={"mix": None}), manifest, Position(), 200)
    mixed = examples(config, manifest, Position(), 200)
    assert mixed.keys() == plain.keys()
    changed = [key for key in mixed if mixed[key] != plain[key]]
    assert 75 <= len(changed) <= 125
    plan = Plan(manifest, "train", SEED)
    windows = {n: set(window) for window in plan.windows(0, 10, 200) for n in window}
    where = {text.replace("a tone, ", "").removesuffix(" again"): key for key, (_, text, _) in plain.items()}
    for key in changed:
        own, other = mixed[key][1].split(" and ")
        assert own == plain[key][1]
        partner = where[other.replace("a tone, ", "").removesuffix(" again")]
        assert partner != key
        assert partner[0] in windows[key[0]]
        assert mixed[key][0] != plain[key][0]


@pytest.mark.parametrize("window", [10, 25])
def test_a_mixture_is_the_same_wherever_the_stream_is_taken_up(tones, window):
    uri, manifest = tones(60)
    config = mixing(uri, probability=1).model_copy(update={"window": window})
    whole = examples(config, manifest, Position(), 120)
    for cursor, taken in ((1, 0), (3, 2), (7, 4), (13, 1)):
        position = Position(cursor)
        position.consumed([cursor + 1] * taken, range(taken), [5] * taken, Plan(manifest, "train", SEED).fingerprint)
        again = examples(config, manifest, position, 30)
        assert not any(position.contains(*key) for key in again)
        assert all(again[key] == whole[key] for key in again)
        assert len(again) >= 30


def test_mixing_leaves_the_account_of_rows_as_it_is(tones, tone):
    rows = [tone(i) for i in range(40)]
    for i in (3, 17):
        rows[i]["audio"]["bytes"] = b"not a sound"
    uri, manifest = tones(0, rows=rows)
    config = mixing(uri, probability=1, max_skipped=1)
    runs = [Run(config.model_copy(update={"mix": mix}), manifest) for mix in (config.mix, None)]
    for run in runs:
        for world, steps in ((2, 4), (1, 3), (3, 5)):
            run.go(world, steps, 1)
    assert runs[0].history == runs[1].history
    assert runs[0].position.to_json() == runs[1].position.to_json()
    assert runs[0].position.skips.counts == {"undecodable": 2}


def test_a_row_whose_partner_cannot_be_used_stays_as_it_is(tones, tone):
    silent = tone(0)["audio"] | {"bytes": flac(0.0, 0.3)}
    uri, manifest = tones(0, rows=[tone(i, audio=silent) if i else tone(0) for i in range(5)])
    config = mixing(uri, probability=1)
    mixed = examples(config, manifest, Position(), 5)
    assert mixed == examples(config.model_copy(update={"mix": None}), manifest, Position(), 5)


def test_held_out_rows_are_never_mixed(tones):
    uri, _ = tones(8)
    config = mixing(uri, probability=1)
    mixed, plain = (held_out(c, "train", 8, 0, 1, 8)[0] for c in (config, config.model_copy(update={"mix": None})))
    assert mixed["captions"] == plain["captions"]
    assert bool((mixed["audio"] == plain["audio"]).all())


def test_captions_are_normalised_as_a_mixture_tells_them(tones):
    uri, manifest = tones(10)
    words = CaptionConfig(choose="first", strip_punctuation=True, drop_stop_words=True)
    config = mixing(uri, probability=1, captions=words)
    texts = [text for _, text, _ in examples(config, manifest, Position(), 10).values()]
    assert all(re.fullmatch(r"tone number \d and tone number \d", text) for text in texts)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_all_that_is_said_of_a_row_goes_with_it_of_a_mixture_its_own_text(tones, probability):
    uri, manifest = tones(10)
    for b in blocks(mixing(uri, probability=probability), Position(), manifest, 10):
        for caption, said in zip(b["caption"], map(json.loads, b["said"]), strict=True):
            number = re.findall(r"\d", caption)
            both = [f"a tone, number {number[0]}", f"number {number[0]} again"]
            assert said == ([caption] if probability else both)


def test_readers_give_nothing_that_is_consumed_already(code_corpus):
    config, manifest, _ = code_corpus
    everything = list(blocks(config, Position(), manifest, 61))
    taken = batches(everything, config, 7, Position())
    next(taken), next(taken)
    rest = [
        (v, p)
        for b in blocks(config, taken.position, manifest, 40)
        for v, p in zip(b["visit"], b["place"], strict=True)
    ]
    assert rest
    assert not any(taken.position.contains(int(visit), int(place)) for visit, place in rest)


def test_a_damaged_shard_becomes_one_unusable_row_for_each_row_it_had(tones):
    uri, manifest = tones(40)
    shard = manifest.shards[1]
    (Path(uri) / shard.name).unlink()
    config = AudioConfig(uri=uri, sample_rate=8000, crop_seconds=0.1, window=8)
    read = [(b["id"][i], b["reason"][i]) for b in blocks(config, Position(), manifest, 40) for i in range(len(b["id"]))]
    assert Counter(reason for _, reason in read) == {"shard missing": shard.rows, "": 40 - shard.rows}
    assert all(name.startswith(f"{shard.name}[") for name, reason in read if reason)


def test_rows_without_captions_are_unusable_only_where_captions_are_needed(tones, tone, monkeypatch):
    monkeypatch.setattr("t2a.data.shards._check_row", lambda row, schema: None)
    uri, manifest = tones(0, rows=[tone(i, captions=[]) for i in range(5)])
    config = AudioConfig(uri=uri, sample_rate=8000, crop_seconds=0.1)
    assert {r for b in blocks(config, Position(), manifest, 5) for r in b["reason"]} == {"no caption"}
    plain = config.model_copy(update={"captions": CaptionConfig(needed=False)})
    assert {r for b in blocks(plain, Position(), manifest, 5) for r in b["reason"]} == {""}


def test_another_kind_or_another_seed_is_refused_before_anything_is_read(tones, code_corpus):
    uri, manifest = tones(20)
    config = AudioConfig(uri=uri, crop_seconds=0.1)
    with pytest.raises(DataError, match="holds codes, the recipe asks for audio"):
        pipeline.stream(config.model_copy(update={"uri": code_corpus[0].uri}), 0, 4, 10, Position())
    position = Position(plan=Plan(manifest, "train", 1).fingerprint)
    with pytest.raises(DataError, match="the seed changed"):
        pipeline.stream(config, 2, 4, 10, position)


@ray.remote(num_cpus=0)
class Rank:
    """One worker: takes batches, notes ids, hands out its position."""

    def __init__(self, shard: ray.data.DataIterator, config: DataConfig, batch_size: int, position: Position) -> None:
        self.rows = batches(shard, config, batch_size, position)
        self.ids: list[str] = []

    def take(self, steps: int) -> tuple[list[str], dict]:
        for _ in range(steps):
            self.ids += next(self.rows)["ids"]
        return self.ids, self.rows.position.to_json()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = f"/tmp/t2a-ray-{tmp_path_factory.getbasetemp().name}"  # short: sockets lie in it
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=512 << 20,
        _temp_dir=folder,
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def feed(config: DataConfig, world: int, batch_size: int, steps: int, position: Position) -> tuple[list[str], Position]:
    """Stream to `world` actors in lock-step and kill them in the middle of the stream."""
    dataset = pipeline.stream(config, SEED, world * batch_size, 2 * steps, position)
    ranks = [Rank.remote(s, config, batch_size, position) for s in dataset.streaming_split(world, equal=True)]
    taken = ray.get([rank.take.remote(steps) for rank in ranks])
    for rank in ranks:
        ray.kill(rank)
    merged = Position.merge([Position.from_json(values) for _, values in taken])
    return [i for ids, _ in taken for i in ids], merged


@pytest.mark.ray
@pytest.mark.parametrize("planned_at_once", [1024, 1])
def test_ray_feeds_every_row_once_through_a_kill_and_a_change_of_workers(tones, cluster, monkeypatch, planned_at_once):
    monkeypatch.setattr(pipeline, "PLANNED_AT_ONCE", planned_at_once)
    uri, manifest = tones(203)
    config = AudioConfig(uri=uri, sample_rate=8000, crop_seconds=0.25, window=32)
    first, position = feed(config, world=2, batch_size=4, steps=9, position=Position())
    assert len(set(first)) == len(first) == 72
    assert position.cursor < 203 / 5
    second, position = feed(config, world=1, batch_size=5, steps=33, position=position)
    counts = Counter(first + second)
    groups = len([g for s in read_manifest(uri).shards for g in s.row_groups])
    assert position.cursor >= groups
    assert set(counts) == {f"clip-{i:04d}" for i in range(203)}
    beyond = sum(v.rows for v in (Plan(manifest, "train", SEED).visit(n) for n in range(groups, position.cursor)))
    assert sum(counts.values()) == 203 + beyond + position.rows_beyond()
