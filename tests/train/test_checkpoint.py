"""Checkpoints: complete or not there, resumed exactly, at another number of ranks as well."""

import json
import time
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed

from t2a import storage
from t2a.errors import CheckpointError, StorageError
from t2a.train import checkpoint
from t2a.train.checkpoint import Checkpoints, newest_complete
from t2a.train.loop import NonFiniteError
from t2a.train.protocol import EngineConfig
from t2a.train.ranks import Ranks
from t2a.train.run import CheckpointConfig
from t2a.train.worker import train
from tests.train.pair import on_ranks
from tests.train.toys import Recorder, ToyConfig, blocks, toy_run

NOISY = ToyConfig(noise=0.3)  # exact only if the random state comes back
ADAPTED = ToyConfig(alone=True, adapted=True)
PARTED = (0, 2, 3)  # stages that partition differently


class Killed(BaseException):
    """Ends a run at once, like SIGKILL."""


def run_to_end(run) -> Recorder:
    """Train to the last step."""
    ranks, reporter = Ranks(), Recorder()
    train(run, ranks, lambda: blocks(ranks.rank, ranks.size), reporter)
    return reporter


def kill_after_four(run) -> None:
    """Train until the checkpoint of step 4 is complete and step 5 is done, then die."""
    ranks = Ranks()

    def progress(step: int, metrics: dict) -> None:
        if step == 5:
            for _ in range(600):
                if newest_complete(run.folder).step == 4:
                    break
                time.sleep(0.05)
            raise Killed

    class Prompt(Checkpoints):  # so that it does not depend on this machine's speed which checkpoint is there
        def save(self, *args) -> None:
            super().save(*args)
            self._wait()

    run = run.model_copy(update={"log_every": 1})
    with patch("t2a.train.worker.Checkpoints", Prompt), pytest.raises(Killed):
        train(run, ranks, lambda: blocks(ranks.rank, ranks.size), Recorder(), progress)
    if ranks.together:
        distributed.barrier()


def model(run) -> dict[str, torch.Tensor]:
    return load_file(Path(run.folder) / "step_00000006" / "model" / "model.safetensors")


def same(a: dict, b: dict, tolerance: float = 0.0) -> bool:
    return all((a[name] - b[name]).abs().max() <= tolerance for name in a)


def test_a_killed_run_goes_on_exactly_as_if_nothing_had_happened(tmp_path) -> None:
    whole, broken = (toy_run(tmp_path / name, task=NOISY, log_every=1) for name in ("whole", "broken"))
    expected = run_to_end(whole).seen
    kill_after_four(broken)
    assert newest_complete(broken.folder).step == 4
    seen = run_to_end(broken).seen
    assert list(seen) == [5, 6]
    assert seen[6]["loss/distance"] == expected[6]["loss/distance"]
    assert same(model(whole), model(broken))
    trainers = [newest_complete(run.folder).trainer for run in (whole, broken)]
    assert trainers[0]["position"] == trainers[1]["position"]


def test_layout_is_complete_and_said_in_trainer_json(tmp_path) -> None:
    run = toy_run(tmp_path, log_rows=True)
    run_to_end(run)
    found = newest_complete(run.folder)
    files = storage.files(found.uri)
    assert set(files) == {*found.trainer["files"], "trainer.json"}
    assert {"recipe.yaml", "model/README.md", "model/model.safetensors", "state/codec/plain.pt"} <= set(files)
    assert {"state/rng-00000.safetensors", "state/critic/average.safetensors", "rows/00000.json"} <= set(files)
    assert (found.trainer["step"], found.trainer["workers"]) == (6, 1)
    assert found.trainer["previous"].endswith("step_00000004")
    assert found.trainer["position"]["cursor"] == 6
    rows = json.loads(storage.read_bytes(storage.join(found.uri, "rows/00000.json")))
    assert [step for step, _ in rows] == [4, 5]
    assert "after step 6 of 6" in (Path(found.uri) / "model" / "README.md").read_text()


def test_keeps_the_newest_and_the_one_it_came_from(tmp_path) -> None:
    kill_after_four(toy_run(tmp_path, log_every=1))
    run = toy_run(tmp_path, steps=10)
    run_to_end(run)
    assert storage.folders(run.folder) == ["step_00000004", "step_00000008", "step_00000010"]
    run_to_end(toy_run(tmp_path, steps=12))
    assert storage.folders(run.folder) == ["step_00000010", "step_00000012"]


def test_killed_before_trainer_json_the_checkpoint_is_ignored_and_removed(tmp_path, monkeypatch) -> None:
    run = toy_run(tmp_path, log_every=1)
    write = storage.write_bytes

    def die_at_four(uri: str, data: bytes) -> None:
        if "step_00000004" in uri:
            raise StorageError("the power went")
        write(uri, data)

    monkeypatch.setattr(storage, "write_bytes", die_at_four)
    with pytest.raises(StorageError, match="the power went"):
        run_to_end(run)
    monkeypatch.setattr(storage, "write_bytes", write)
    assert "step_00000004" in storage.folders(run.folder)
    found = newest_complete(run.folder)
    assert found.step == 2
    checkpoint.clean(run.folder, found)
    assert storage.folders(run.folder) == ["step_00000002"]


@pytest.mark.parametrize("damage", ["cut", "gone", "garbled"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage: str) -> None:
    run = toy_run(tmp_path)
    run_to_end(run)
    newest = Path(run.folder) / "step_00000006"
    weights = newest / "model" / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "gone":
        weights.unlink()
    else:
        (newest / "trainer.json").write_text("{")
    assert newest_complete(run.folder).step == 4


def test_a_failed_upload_stops_the_run_with_its_reason(tmp_path, monkeypatch) -> None:
    def full(folder: Path, uri: str) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(storage, "upload", full)
    with pytest.raises(StorageError, match="the disk is full"):
        run_to_end(toy_run(tmp_path))


def test_another_network_or_engine_is_refused_in_one_sentence(tmp_path) -> None:
    run = toy_run(tmp_path)
    kill_after_four(run)
    with pytest.raises(CheckpointError, match=r"saved with other networks \(critic: 100 param.* then, none now\)"):
        run_to_end(toy_run(tmp_path, task=ToyConfig(alone=True)))
    found = newest_complete(run.folder)
    with pytest.raises(CheckpointError, match=r"other engine .*kind: plain then, deepspeed now.* under another name"):
        checkpoint.resumable(found, toy_run(tmp_path, engine=EngineConfig()), {})


def test_a_finished_run_is_left_alone(tmp_path) -> None:
    run_to_end(toy_run(tmp_path))
    assert run_to_end(toy_run(tmp_path)).seen == {}


def zero_run(out: Path, zero: int, precision: str = "fp32", **changes):
    engine = EngineConfig(zero=zero, precision=precision, ema=0.8)
    return toy_run(out, engine=engine, checkpoint=CheckpointConfig(every=2, keep=9), **changes)


def two_ranks(folder: Path) -> dict[str, str]:
    """Train runs to the end, and others to a kill; return what was raised on this rank."""
    for zero in range(4):
        run_to_end(zero_run(folder / f"whole-{zero}", zero, task=NOISY))
        kill_after_four(zero_run(folder / f"again-{zero}", zero, task=NOISY))
        run_to_end(zero_run(folder / f"again-{zero}", zero, task=NOISY))
        run_to_end(zero_run(folder / f"plain-{zero}", zero))
        kill_after_four(zero_run(folder / f"fewer-{zero}", zero))
    for zero in PARTED:
        run_to_end(zero_run(folder / f"plain-adapted-{zero}", zero, task=ADAPTED))
        kill_after_four(zero_run(folder / f"fewer-adapted-{zero}", zero, task=ADAPTED))
    kill_after_four(zero_run(folder / "fewer-bf16", 2, "bf16"))
    run_to_end(zero_run(folder / "plain-bf16", 2, "bf16"))
    raised = {}
    try:
        run_to_end(zero_run(folder / "poison", 2, task=ToyConfig(poison=("4-6",))))
    except NonFiniteError as error:
        raised["poison"] = str(error)
    return raised


def one_rank(folder: Path) -> None:
    """End what two ranks have begun."""
    for zero in range(4):
        run_to_end(zero_run(folder / f"fewer-{zero}", zero))
    for zero in PARTED:
        run_to_end(zero_run(folder / f"fewer-adapted-{zero}", zero, task=ADAPTED, seed=1))
    run_to_end(zero_run(folder / "fewer-bf16", 2, "bf16"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    raised = on_ranks(2, two_ranks, folder / "results", folder)
    on_ranks(1, one_rank, folder / "results", folder)
    (folder / "raised.json").write_text(json.dumps(raised))
    return folder


@pytest.mark.parametrize("zero", range(4))
def test_two_ranks_go_on_exactly(zero: int, folder: Path) -> None:
    whole, again = (zero_run(folder / f"{name}-{zero}", zero) for name in ("whole", "again"))
    assert same(model(whole), model(again))
    assert newest_complete(again.folder).trainer["previous"].endswith("step_00000004")


@pytest.mark.parametrize("zero", range(4))
def test_what_two_ranks_have_begun_one_ends(zero: int, folder: Path) -> None:
    whole, fewer = (zero_run(folder / f"{name}-{zero}", zero) for name in ("plain", "fewer"))
    found = newest_complete(fewer.folder)
    assert (found.step, found.trainer["workers"], found.trainer["position"]["cursor"]) == (6, 1, 6)
    assert json.loads(storage.read_bytes(storage.join(found.trainer["previous"], "trainer.json")))["workers"] == 2
    assert same(model(whole), model(fewer), 1e-6)


@pytest.mark.parametrize("zero", PARTED)
def test_low_rank_changes_and_what_they_change_come_back(zero: int, folder: Path) -> None:
    """With another seed a resumed run makes another base, which only the checkpoint puts right."""
    whole, fewer = (zero_run(folder / f"{name}-adapted-{zero}", zero) for name in ("plain", "fewer"))
    assert set(model(whole)) == {"down.weight", "down.bias", "up.weight", "up.bias", "gain", "seen"}
    assert same(model(whole), model(fewer), 1e-6)


def test_one_rank_ends_what_two_have_begun_in_bf16(folder: Path) -> None:
    whole, fewer = (zero_run(folder / f"{name}-bf16", 2, "bf16") for name in ("plain", "fewer"))
    assert same(model(whole), model(fewer), 1e-2)


def test_a_number_that_is_not_finite_stops_all_ranks_and_names_the_rows_of_the_one(folder: Path) -> None:
    first, second = json.loads((folder / "raised.json").read_text())
    assert first["poison"] == second["poison"]
    assert "rank 1: 4-4, 4-5, 4-6, 4-7" in first["poison"]
    assert "rank 0" not in first["poison"]
    assert "poison/toy/step_00000004" in first["poison"]


def test_a_checkpoint_that_is_removed_while_it_is_looked_at_is_passed_over(tmp_path, monkeypatch):
    for step in (1, 2):
        folder = tmp_path / f"step_{step:08d}"
        folder.mkdir()
        (folder / "trainer.json").write_text(json.dumps({"step": step, "files": {}}))
    real = storage.read_bytes

    def read(where: str) -> bytes:
        if "step_00000002" in where:
            Path(where).unlink()
        return real(where)

    monkeypatch.setattr(storage, "read_bytes", read)
    assert newest_complete(str(tmp_path)).step == 1


def test_a_checkpoint_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    folder = tmp_path / "step_00000001"
    folder.mkdir()
    (folder / "trainer.json").write_text("{}")

    def read(where: str) -> bytes:
        raise StorageError("no permission")

    monkeypatch.setattr(storage, "read_bytes", read)
    with pytest.raises(StorageError, match="no permission"):
        newest_complete(str(tmp_path))
