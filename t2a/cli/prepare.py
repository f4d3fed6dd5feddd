"""`t2a prepare SOURCE OUT`: make a corpus of Parquet shards out of sounds and captions."""

from pathlib import Path
from typing import Annotated, Any

import typer

from t2a.cli.output import console

app = typer.Typer(
    no_args_is_help=True,
    help="Make a corpus: Parquet shards and a manifest, in a folder or on s3://.",
)

OutArgument = Annotated[str, typer.Argument(help="The corpus to write: a folder or s3://bucket/path.")]
RateOption = Annotated[int, typer.Option("--sample-rate", help="Samples a second.", min=1000)]
ClipOption = Annotated[float, typer.Option("--max-seconds", help="Longer sounds are cut into pieces.", min=0.1)]
SkippedOption = Annotated[float, typer.Option("--max-skipped", help="Stop above this share of bad rows.", min=0, max=1)]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a corpus that is there.")]
ClipsArgument = Annotated[str, typer.Argument(help="A corpus of clips.")]
StatesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=ENCODER",
        help="Store what an encoder of the recipe (task.encoders.NAME) makes of the clips, so that training need "
        "not run it: text=minilm, melody=chroma, 'text={kind: t5, name: google-t5/t5-base}'. May be repeated.",
    ),
]


@app.command("debian-sounds")
def debian_sounds(
    out: OutArgument,
    full: Annotated[bool, typer.Option("--full", help="More games, drums and recorded speech: 470 MB more.")] = False,
    sample_rate: RateOption = 16000,
    max_seconds: ClipOption = 10.0,
    max_skipped: SkippedOption = 0.05,
    overwrite: OverwriteOption = False,
) -> None:
    """Real sounds with captions out of Debian packages (downloads 279 MB, cached)."""
    write_corpus(
        "debian-sounds-full" if full else "debian-sounds", out, sample_rate, max_seconds, max_skipped, overwrite
    )


@app.command()
def synthetic(
    out: OutArgument,
    count: Annotated[int, typer.Option(help="Clips to make.", min=1)] = 500,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    sample_rate: RateOption = 16000,
    max_seconds: ClipOption = 4.0,
    overwrite: OverwriteOption = False,
) -> None:
    """Synthesised sounds of more than twenty kinds; needs no network."""
    write_corpus("synthetic", out, sample_rate, max_seconds, 0.0, overwrite, count=count, seed=seed)


@app.command()
def folder(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Audio with a CSV, a JSONL, or .txt/.json beside.")],
    out: OutArgument,
    sample_rate: RateOption = 16000,
    max_seconds: ClipOption = 30.0,
    max_skipped: SkippedOption = 0.05,
    overwrite: OverwriteOption = False,
) -> None:
    """Your own audio files with their captions."""
    write_corpus("folder", out, sample_rate, max_seconds, max_skipped, overwrite, folder=source)


@app.command()
def codes(
    corpus: ClipsArgument,
    out: OutArgument,
    model: Annotated[str, typer.Option(help="The codec: a folder, s3://... or models:/name@alias.")],
    channels: Annotated[int, typer.Option(help="2: left and right, each by a mono codec.", min=1, max=2)] = 1,
    states: StatesOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """The codes of a codec for every clip of CORPUS: what a language model trains on."""
    from t2a.conditions.encoders import parse_options
    from t2a.generate.codes import precompute_codes

    encoders = parse_options(states or [])
    summarise(out, precompute_codes(corpus, out, model, channels=channels, encoders=encoders, overwrite=overwrite))


@app.command()
def latents(
    corpus: ClipsArgument,
    out: OutArgument,
    model: Annotated[str, typer.Option(help="The autoencoder: a folder, s3://... or models:/name@alias.")],
    states: StatesOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """The latents of an autoencoder for every clip of CORPUS: what a denoiser trains on."""
    from t2a.conditions.encoders import parse_options
    from t2a.generate.latents import precompute_latents

    encoders = parse_options(states or [])
    summarise(out, precompute_latents(corpus, out, model, encoders=encoders, overwrite=overwrite))


def write_corpus(
    source: str, out: str, rate: int, seconds: float, max_skipped: float, overwrite: bool, **options: Any
) -> None:
    from t2a.data.prepare import prepare

    manifest = prepare(
        source,
        out,
        sample_rate=rate,
        seconds_max=seconds,
        max_skipped=max_skipped,
        overwrite=overwrite,
        **options,
    )
    summarise(out, manifest)


def summarise(out: str, manifest: Any) -> None:
    """Say what was written and what was left out."""
    rows = sum(shard.rows for shard in manifest.shards)
    hours = sum(shard.seconds for shard in manifest.shards) / 3600
    skipped = ", ".join(f"{count} {reason}" for reason, count in manifest.skipped.items()) or "none"
    console.print(f"{out}: {rows} clips, {hours:.2f} h in {len(manifest.shards)} shards; skipped: {skipped}")
