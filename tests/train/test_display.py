import time
from pathlib import Path

import pytest

from t2a.config import load
from t2a.train import display
from t2a.train.board import Notice
from t2a.train.run import Run

RECIPE = Path(__file__).parents[2] / "jobs" / "recipes" / "codec-small.yaml"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(display, "EVERY_SECONDS", 0.01)
    return load(Run, RECIPE, ["steps=100", "batch_size=8", "name=small"])


def notices(*steps):
    """Answer with one step after the other, then with the last again and again."""
    ahead = [Notice(step, {"loss/mel": 1 / (1 + step), "time/step": 0.5}, None) for step in steps]
    return lambda: ahead.pop(0) if len(ahead) > 1 else ahead[0]


def followed(run, read, visible=True):
    with display.shown(run, read, visible):
        time.sleep(0.2)


def test_a_log_is_told_line_by_line_how_far_a_run_is(run, monkeypatch, capsys):
    monkeypatch.setattr(display, "LINE_SECONDS", 0.0)
    followed(run, notices(0, 20, 20, 100))
    out, lines = capsys.readouterr()
    assert not out
    first, last = lines.splitlines()
    assert first.startswith("small: step 20 of 100, loss/mel 0.04762  16.0 rows/s, ")
    assert first.endswith(" min left")
    assert last == "small: step 100 of 100, loss/mel 0.009901  16.0 rows/s, 0 min left"


def test_between_two_lines_of_a_log_is_time_and_the_last_step_is_told_in_any_case(run, capsys):
    followed(run, notices(0, 20, 40, 60))
    assert capsys.readouterr().err.splitlines() == ["small: step 60 of 100, loss/mel 0.01639  16.0 rows/s"]


def test_nothing_is_told_of_a_run_that_never_began_and_of_one_that_nobody_watches(run, capsys):
    def gone():
        raise ConnectionError

    followed(run, gone)
    followed(run, notices(0, 50), visible=False)
    assert capsys.readouterr() == ("", "")
