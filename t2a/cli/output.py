"""What the verbs share: where they print, how progress looks, what they refuse to write."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from t2a.errors import ConfigError

console = Console(markup=False)  # what is printed holds names that others chose, in brackets or not

ModelArgument = Annotated[str, typer.Argument(help="A model, step or run folder, s3://..., or models:/name@alias.")]


def progress_bar():
    """The one look of a progress bar: written to stderr, gone when done, silent when not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    shown = Console(stderr=True)
    columns = (*columns, TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, transient=True, console=shown, disable=not shown.is_terminal)  # or it writes a line end


def check_output_folder(path: Path) -> None:
    """Refuse before any work what could not be written after it."""
    if path.is_dir():
        raise ConfigError(f"cannot write {path}: it is a folder; choose the name of a file")
    if not path.parent.is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {path.parent}; create it or choose another name")


def check_sound_file(path: Path) -> None:
    """Refuse likewise a sound file in no folder, or of no format."""
    from t2a.audio.io import format_of

    check_output_folder(path)
    format_of(path)
