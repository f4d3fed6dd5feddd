"""`t2a VERB`: train, tune, evaluate, generate, edit, compress, decompress, serve, info, register, import, export.

Heavy libraries are imported inside the verbs, so that `--help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from t2a.cli.edit import edit
from t2a.cli.evaluate import evaluate
from t2a.cli.exports import app as export_app
from t2a.cli.files import compress, decompress
from t2a.cli.generate import generate
from t2a.cli.imports import app as import_app
from t2a.cli.output import ModelArgument, console
from t2a.cli.prepare import app as prepare_app
from t2a.errors import T2AError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, tune, use and serve text-to-audio models. MODEL and OUT are a folder, s3://... or models:/name@alias.",
)
app.add_typer(prepare_app, name="prepare")
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")
for verb in (evaluate, generate, edit, compress, decompress):
    app.command()(verb)

OverridesArgument = Annotated[
    list[str] | None, typer.Argument(help="Changes to the recipe, such as steps=2000 task.model.codebooks=2.")
]


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as jobs/recipes/codec-small.yaml.")],
    overrides: OverridesArgument = None,
    show: Annotated[bool, typer.Option("--show", help="Print the resolved recipe and stop.")] = False,
) -> None:
    """Train what RECIPE describes; run again, it goes on from the newest complete checkpoint."""
    from t2a.config import dump, load
    from t2a.train.run import Run

    run = load(Run, recipe, overrides or [])
    if show:
        print(dump(run), end="")
        return
    from t2a.train.fit import fit

    result = fit(run)
    console.print(f"step {result.step}: {result.model_uri}")


@app.command()
def tune(
    recipe: Annotated[Path, typer.Argument(help="The recipe that every trial starts from.")],
    space: Annotated[Path, typer.Argument(help="The search space, such as jobs/recipes/spaces/codec-streams.yaml.")],
    overrides: OverridesArgument = None,
) -> None:
    """Search recipe overrides with Ray Tune; every trial is a nested MLflow run."""
    from t2a.tune.search import tune as search

    search(recipe, space, overrides or [])


@app.command()
def serve(
    model: ModelArgument,
    host: Annotated[str, typer.Option(help="Loopback unless told otherwise.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    replicas: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Answer POST /v1/audio/generations until Ctrl-C; T2A_API_TOKEN, when set, is asked for."""
    from t2a.serve.run import serve as run

    run(model, host=host, port=port, replicas=replicas)


@app.command()
def info(model: ModelArgument) -> None:
    """Say what MODEL is: its kind, size, rate and configuration; or what a corpus holds."""
    from t2a.cli.info import describe

    console.print(describe(model))


@app.command()
def register(
    model: ModelArgument,
    name: Annotated[str, typer.Argument(help="The name in the MLflow registry.")],
    alias: Annotated[str, typer.Option(help="The alias that will point at this version.")] = "champion",
) -> None:
    """Register MODEL in MLflow, so that models:/NAME@ALIAS means it from now on."""
    from t2a.registry import register as run

    version = run(name, model, alias)
    console.print(f"models:/{name}@{alias} is version {version}: {model}")


def main() -> None:
    """Run the command line; a failure with a remedy is one sentence on stderr and a non-zero exit."""
    try:
        app()
    except T2AError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`t2a ... | head`): end quietly, without Python's complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def escape(text: str) -> str:
    from rich.markup import escape as rich_escape

    return rich_escape(text)
