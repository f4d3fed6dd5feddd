"""The demo as a command: one at a time in a folder, and all of it in a `slow` test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from t2a.demo.__main__ import LOCK, alone, empty
from t2a.errors import T2AError


def demo(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "t2a.demo", *arguments], capture_output=True, text=True, **options)


def test_a_second_demo_in_a_folder_is_told_who_is_there(tmp_path: Path) -> None:
    with alone(tmp_path):
        told = demo("--folder", str(tmp_path), "--fresh", timeout=60)
    assert told.returncode == T2AError.exit_code
    assert f"A demo is running in {tmp_path} already (process {os.getpid()})" in " ".join(told.stdout.split())
    assert "Traceback" not in told.stderr


def test_the_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), alone(tmp_path):
        raise RuntimeError
    with alone(tmp_path):
        assert (tmp_path / LOCK).read_text() == str(os.getpid())


def test_a_fresh_start_forgets_all_but_the_lock(tmp_path: Path) -> None:
    with alone(tmp_path):
        (tmp_path / "s3" / "data").mkdir(parents=True)
        (tmp_path / "state.json").touch()
        empty(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.mark.slow
@pytest.mark.ray
def test_a_quick_demo_does_it_all_and_is_skipped_the_second_time(tmp_path: Path) -> None:
    made = demo("--quick", "--folder", str(tmp_path / "demo"), timeout=540)
    assert made.returncode == 0, made.stdout + made.stderr
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count("<audio") == 2 * 8 + 1 + 2 * 6 + 3 * 4
    again = demo("--quick", "--folder", str(tmp_path / "demo"), timeout=240)
    assert again.returncode == 0, again.stdout + again.stderr
