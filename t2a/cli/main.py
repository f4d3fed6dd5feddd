"""`t2a VERB`: train, tune, evaluate, generate, compress, decompress, serve, info, register, import.

Heavy libraries are imported inside the verbs, so that `--help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from t2a.cli.imports import app as import_app
from t2a.cli.prepare import app as prepare_app
from t2a.errors import ConfigError, DataError, T2AError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, tune, use and serve text-to-audio models. MODEL and OUT are a folder, s3://... or models:/name@alias.",
)
app.add_typer(prepare_app, name="prepare")
app.add_typer(import_app, name="import")
console = Console()

ModelArgument = Annotated[str, typer.Argument(help="A model, step or run folder, s3://..., or models:/name@alias.")]
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
def evaluate(
    model: ModelArgument,
    corpus: Annotated[
        str, typer.Argument(help="The corpus: clips for a codec, codes for a language or entropy model.")
    ],
    split: Annotated[str, typer.Option(help="Which split to measure on.")] = "test",
    rows: Annotated[int, typer.Option(help="How many clips at most.", min=2)] = 128,
    listened: Annotated[int, typer.Option(help="How many of them ViSQOL hears, of a codec; it is slow.", min=0)] = 16,
    generated: Annotated[int, typer.Option(help="Captions that a language model makes 4 clips each of.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file as well.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="A trained clap that ranks captions by what a language model makes of them.")
    ] = None,
    clips: Annotated[int, typer.Option(help="How many clips are made for the judge, at each guidance.", min=2)] = 32,
    report: Annotated[Path | None, typer.Option(help="Write a page with figures and sounds.")] = None,
) -> None:
    """Measure MODEL on held-out clips, beside its baselines, with 95 % intervals."""
    from t2a.cli.figures import printed
    from t2a.evaluate import evaluate as measure

    for path in (out, report):
        if path:
            check_output_folder(path)
    if report or judge:
        from t2a.report.pages import check_page, write_page

        check_page(model, judge, report is not None)
    evaluation = measure(model, corpus, split=split, rows=rows, listened=listened, generated=generated, judge=judge)
    steering = None
    if judge:
        from t2a.evaluate.steering import evaluate_steering

        steering = evaluate_steering(model, corpus, judge, split=split, clips=clips)
    for measured in (evaluation, steering and steering.evaluation):
        if measured:
            for part in printed(measured, f"{model} on {corpus} ({split})"):
                console.print(part, highlight=False)
    if out:
        import json

        plain = evaluation.plain() | ({"steering": steering.evaluation.plain()} if steering else {})
        out.write_text(json.dumps(plain, indent=2, allow_nan=False))
    if report:
        write_page(report, evaluation, steering, model, corpus, split)
        console.print(f"{report}: figures and sounds")


@app.command()
def generate(
    model: ModelArgument,
    prompt: Annotated[str, typer.Argument(help="What to hear.")],
    seconds: Annotated[float, typer.Option(help="Duration; the clip is exactly this long.")] = 5.0,
    guidance: Annotated[float, typer.Option(help="Classifier-free guidance; 1 is off.", min=0)] = 3.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same clip.", min=0)] = 0,
    count: Annotated[int, typer.Option(help="Clips to make, with seeds SEED, SEED + 1, ...", min=1)] = 1,
    temperature: Annotated[float, typer.Option(min=0)] = 1.0,
    top_k: Annotated[int, typer.Option(help="0 is off.", min=0)] = 250,
    top_p: Annotated[float, typer.Option(help="0 is off.", min=0, max=1)] = 0.0,
    melody: Annotated[Path | None, typer.Option(help="An audio file whose tune to follow: a mix or a stem.")] = None,
    beginning: Annotated[
        Path | None, typer.Option("--continue", help="An audio file to go on from; --seconds count it too.")
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16", "int8"], typer.Option(help="Of the weights; less is quicker.")
    ] = "float32",
    best_of: Annotated[int, typer.Option(help="Tries for each clip; the one that --judge prefers is kept.", min=1)] = 1,
    judge: Annotated[str | None, typer.Option(help="A trained clap, or a CLAP of transformers or the hub.")] = None,
    out: Annotated[Path, typer.Option(help="The file; of several clips the number is appended.")] = Path("clip.wav"),
) -> None:
    """Generate audio for PROMPT, which may be "" with --continue."""
    from t2a.audio.io import decode, write
    from t2a.generate import load
    from t2a.generate.ranking import best_of as rank
    from t2a.generate.ranking import judge_of

    if not prompt.strip() and beginning is None:
        raise ConfigError("the prompt is empty: say what you want to hear")
    if best_of > 1 and judge is None:
        raise ConfigError("--best-of needs --judge, a CLAP that says which clip fits the prompt best")
    check_output_folder(out)
    tune, start = (decode(path) if path else None for path in (melody, beginning))
    judged = judge_of(judge) if judge else None
    generator = load(model, precision=precision)
    with progress_bar() as bar:
        task = bar.add_task("generating", total=None)
        ranked = rank(
            generator,
            judged,
            [prompt] * count,
            seconds,
            guidance=guidance,
            seeds=[seed + i for i in range(count)],
            count=best_of,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            melody=tune,
            beginning=start,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for index, (clip, kept, scores) in enumerate(ranked):
        path = out if count == 1 else out.with_stem(f"{out.stem}-{index}")
        write(path, clip, generator.sample_rate)
        among = f", score {max(scores):.3f}, the best of {', '.join(f'{s:.3f}' for s in scores)}" if judged else ""
        console.print(f"{path}: {clip.shape[-1] / generator.sample_rate:g} s, seed {kept}{among}")


@app.command()
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


@app.command()
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


def progress_bar():
    """The one look of a progress bar: written to stderr, gone when done, silent when not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), transient=True, console=Console(stderr=True))


def check_output_folder(path: Path) -> None:
    """Refuse before any work what could not be written after it."""
    if not path.parent.is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {path.parent}; create it or choose another name")


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
