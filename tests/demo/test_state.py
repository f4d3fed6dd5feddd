"""The demo's memory: finished stages are skipped, changed ones and all after them run again."""

import pytest
from rich.console import Console

from t2a.demo.state import State


def run_all(folder, inputs):
    ran = []
    state = State(folder, Console(quiet=True))
    for name, value in inputs.items():
        state.run(name, value, lambda name=name: ran.append(name) or {"name": name})
    return ran, state


def test_a_finished_stage_is_skipped_and_its_facts_are_remembered(tmp_path):
    assert run_all(tmp_path, {"a": 1, "b": 2})[0] == ["a", "b"]
    ran, state = run_all(tmp_path, {"a": 1, "b": 2})
    assert ran == []
    assert state.run("b", 2, lambda: pytest.fail("ran again")) == {"name": "b"}
    assert set(state.seconds()) == {"a", "b"}


def test_a_changed_stage_runs_again_with_all_after_it(tmp_path):
    run_all(tmp_path, {"a": 1, "b": 2, "c": 3})
    assert run_all(tmp_path, {"a": 1, "b": 9, "c": 3})[0] == ["b", "c"]


def test_a_failed_stage_is_not_remembered(tmp_path):
    state = State(tmp_path, Console(quiet=True))
    with pytest.raises(RuntimeError):
        state.run("a", 1, lambda: (_ for _ in ()).throw(RuntimeError("no")))
    assert run_all(tmp_path, {"a": 1})[0] == ["a"]
