"""The demo's memory: finished stages are skipped, changed ones and all that need them run again."""

import pytest
from rich.console import Console

from t2a.demo.state import State

NEEDS = {"a": (), "b": ("a",), "c": ("b",), "beside": ("a",)}


def run_all(folder, inputs):
    ran = []
    state = State(folder, Console(quiet=True))
    for name, value in inputs.items():
        state.run(name, value, lambda name=name: ran.append(name) or {"name": name}, NEEDS[name])
    return ran, state


def test_a_finished_stage_is_skipped_and_its_facts_are_remembered(tmp_path):
    assert run_all(tmp_path, {"a": 1, "b": 2})[0] == ["a", "b"]
    ran, state = run_all(tmp_path, {"a": 1, "b": 2})
    assert ran == []
    assert state.run("b", 2, lambda: pytest.fail("ran again"), ["a"]) == {"name": "b"}
    assert set(state.seconds()) == {"a", "b"}


def test_a_changed_stage_runs_again_with_all_that_need_it_and_no_other(tmp_path):
    run_all(tmp_path, {"a": 1, "b": 2, "c": 3, "beside": 4})
    assert run_all(tmp_path, {"a": 1, "b": 9, "c": 3, "beside": 4})[0] == ["b", "c"]
    assert run_all(tmp_path, {"a": 9, "b": 9, "c": 3, "beside": 4})[0] == ["a", "b", "c", "beside"]


def test_an_interruption_after_a_changed_stage_does_not_save_those_that_need_it(tmp_path):
    run_all(tmp_path, {"a": 1, "b": 2, "c": 3})
    assert run_all(tmp_path, {"a": 1, "b": 9})[0] == ["b"]
    assert run_all(tmp_path, {"a": 1, "b": 9, "c": 3})[0] == ["c"]


def test_a_failed_stage_is_not_remembered(tmp_path):
    state = State(tmp_path, Console(quiet=True))
    with pytest.raises(RuntimeError):
        state.run("a", 1, lambda: (_ for _ in ()).throw(RuntimeError("no")))
    assert run_all(tmp_path, {"a": 1})[0] == ["a"]
