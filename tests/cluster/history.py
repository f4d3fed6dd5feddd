"""What a run has seen: the rows it logged against those that its position says are consumed."""

import json
from collections import Counter

from t2a import storage
from t2a.data.plan import Plan
from t2a.data.position import Position
from t2a.data.shards import read_manifest, read_rows
from t2a.train.checkpoint import newest_complete
from t2a.train.run import Run


def logged(run: Run) -> tuple[Counter[str], list[int], list[int]]:
    """Follow the checkpoints back from the newest: the rows, the steps and the numbers of workers of that history."""
    rows: Counter[str] = Counter()
    steps: list[int] = []
    workers: list[int] = []
    uri = newest_complete(run.folder).uri
    while uri:
        trainer = json.loads(storage.read_bytes(storage.join(uri, "trainer.json")))
        workers.append(trainer["workers"])
        for rank in range(trainer["workers"]):
            for step, ids in json.loads(storage.read_bytes(storage.join(uri, f"rows/{rank:05d}.json"))):
                rows.update(ids)
                steps += [step] if rank == 0 else []
        uri = trainer["previous"]
    return rows, sorted(steps), workers[::-1]


def consumed(run: Run) -> Counter[str]:
    """The rows of the visits and places that the newest checkpoint's position holds."""
    position = Position.from_json(newest_complete(run.folder).trainer["position"])
    manifest = read_manifest(run.data.uri)
    plan = Plan(manifest, run.data.split, run.seed)
    ids = iter([row["id"] for row in read_rows(run.data.uri, run.data.split)])
    groups = {
        (shard.name, group): [next(ids) for _ in range(count)]
        for shard in manifest.shards
        if shard.split == run.data.split
        for group, count in enumerate(shard.row_groups)
    }
    rows: Counter[str] = Counter()
    for number in range(max([position.cursor, *(n + 1 for n in position.seen)])):
        visit = plan.visit(number)
        names = groups[visit.shard.name, visit.row_group]
        rows.update(name for place, name in enumerate(names) if position.contains(number, place))
    return rows


def check_exactly_once(run: Run) -> None:
    """Every step once, and every row as often as its place in the stream was passed."""
    rows, steps, _ = logged(run)
    assert steps == list(range(run.steps))
    assert rows.total() == run.steps * run.batch_size
    assert rows == consumed(run)
