import io

import pytest
from rich.console import Console
from rich.table import Table

from t2a.cli import output
from t2a.errors import ConfigError


def worked(monkeypatch, terminal: bool) -> str:
    """What a bar writes while it is worked."""
    file = io.StringIO()
    monkeypatch.setattr(output, "Console", lambda stderr: Console(file=file, force_terminal=terminal, width=80))
    with output.progress_bar() as bar:
        task = bar.add_task("generating", total=None)
        bar.update(task, completed=3, total=4)
        bar.refresh()
    return file.getvalue()


def test_a_bar_is_seen_on_a_terminal_and_nothing_of_it_elsewhere(monkeypatch):
    shown = worked(monkeypatch, terminal=True)
    assert "generating" in shown
    assert "3/4" in shown
    assert worked(monkeypatch, terminal=False) == ""


def test_a_bar_leaves_what_is_printed_to_itself(capfd):
    with output.progress_bar() as bar:
        bar.add_task("generating", total=1)
    assert capfd.readouterr() == ("", "")


def test_a_file_needs_a_folder_that_is_there(tmp_path):
    output.check_output_folder(tmp_path / "clip.wav")
    for missing in (tmp_path / "no" / "clip.wav", tmp_path / "a" / "b" / "clip.wav"):
        with pytest.raises(ConfigError, match=f"there is no folder {missing.parent}; create it or choose another name"):
            output.check_output_folder(missing)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="it is a folder"):
        output.check_output_folder(tmp_path)


def test_names_in_brackets_are_printed_as_they_are(capsys):
    table = Table("[music]", title="a[/b]")
    table.add_row("t2a[quality]")
    for told in ("[/a].wav: 1 s", table):
        output.console.print(told)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("[/a].wav", "[music]", "a[/b]", "t2a[quality]"))
