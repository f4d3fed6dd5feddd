"""`t2a compress` and `t2a decompress`."""

from pathlib import Path
from typing import Annotated

import typer

from t2a.cli.output import check_output_folder, console, progress_bar
from t2a.errors import ConfigError, DataError


def compress(
    source: Annotated[Path, typer.Argument(metavar="IN", help="An audio file.")],
    out: Annotated[Path, typer.Argument(help="The compressed file to write.")],
    model: Annotated[str, typer.Option(help="The codec: a folder, s3://... or models:/name@alias.")],
    entropy: Annotated[str | None, typer.Option(help="An entropy model of its codes; makes the file smaller.")] = None,
    codebooks: Annotated[int | None, typer.Option(help="Fewer codebooks give a lower bit rate.", min=1)] = None,
    chunk_seconds: Annotated[float, typer.Option(help="What a damaged byte may cost; short chunks cost bytes.")] = 10.0,
) -> None:
    """Compress an audio file with a trained codec."""
    from t2a.generate.compress import compress as run

    check_output_folder(out)
    with progress_bar() as bar:
        task = bar.add_task("compressing", total=None)
        size = run(
            source,
            out,
            model,
            entropy=entropy,
            codebooks=codebooks,
            chunk_seconds=chunk_seconds,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(f"{out}: {size:,} bytes, {source.stat().st_size / size:.1f} times smaller than {source}")


def decompress(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file of `t2a compress`, or .ecdc of encodec.")],
    out: Annotated[Path, typer.Argument(help="The audio file to write.")],
    model: Annotated[str | None, typer.Option(help="The codec; by default the one named in the file.")] = None,
    entropy: Annotated[
        str | None, typer.Option(help="The entropy model; by default the one named in the file.")
    ] = None,
    start: Annotated[float, typer.Option(help="Begin at this second.", min=0)] = 0.0,
    end: Annotated[float | None, typer.Option(help="Stop at this second.", min=0)] = None,
) -> None:
    """Turn a compressed file, or a part of it, back into audio; what is damaged is silent, told, and exit code 1."""
    from t2a.cli import ecdc
    from t2a.generate.decompress import decompress as run

    check_output_folder(out)
    if ecdc.recognised(source):
        if entropy or start or end is not None:
            raise ConfigError(f"{source} is an ECDC file: --entropy, --start and --end are for those of t2a compress")
        console.print(f"{out}: {ecdc.decompress(source, out, model, progress_bar()):.2f} s")
        return
    with progress_bar() as bar:
        task = bar.add_task("decompressing", total=None)
        found = run(
            source,
            out,
            model,
            entropy=entropy,
            start=start,
            end=end,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(f"{out}: {found.seconds:.2f} s")
    if found.lost:
        lost = ", ".join(f"{first:.2f} to {last:.2f} s" for first, last in found.lost)
        raise DataError(f"{source} is damaged at {lost}, where {out} is silent; copy the file again.")
