"""`t2a evaluate MODEL CORPUS`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from t2a.cli.output import ModelArgument, check_output_folder, console
from t2a.errors import ConfigError


def evaluate(
    model: ModelArgument,
    corpus: Annotated[
        str,
        typer.Argument(
            help="Clips for a codec, autoencoder, vocoder or clap; codes for a language or entropy model; latents for "
            "a denoiser."
        ),
    ],
    split: Annotated[str, typer.Option(help="Which split to measure on.")] = "test",
    rows: Annotated[int, typer.Option(help="How many clips at most.", min=2)] = 128,
    listened: Annotated[
        int, typer.Option(help="How many of them ViSQOL hears, of a codec, autoencoder or vocoder; it is slow.", min=0)
    ] = 16,
    generated: Annotated[int, typer.Option(help="Captions that a model makes 4 clips each of.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file as well.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="A trained clap that ranks captions by what a model makes of them.")
    ] = None,
    clips: Annotated[int | None, typer.Option(help="How many captions the judge ranks; 64 by default.", min=2)] = None,
    takes: Annotated[
        int | None, typer.Option(help="Clips made of each of them, at each guidance; 4 by default.", min=1)
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Another model, of any kind, that makes the same for the judge. May be repeated."),
    ] = None,
    vocoder: Annotated[
        str | None, typer.Option(help="What an autoencoder is heard through; by default Griffin-Lim.")
    ] = None,
    originals: Annotated[
        str | None,
        typer.Option(
            help="The clips that the latents (or codes) were made of: adds to the page how well the judge, the "
            "autoencoder and the vocoder do on them."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Draws the clips that are heard, the captions and what is made.", min=0)
    ] = 0,
    report: Annotated[Path | None, typer.Option(help="Write a page with figures and sounds.")] = None,
) -> None:
    """Measure MODEL on held-out clips, beside its baselines, with 95 % intervals."""
    from t2a.cli.figures import printed
    from t2a.evaluate import evaluate as measure

    for path in (out, report):
        if path:
            check_output_folder(path)
    if against and not judge:
        raise ConfigError("--against compares what models make, which a judge has to hear: give --judge CLAP")
    if (clips or takes) and not judge:
        raise ConfigError("--clips and --takes say how much a judge hears: give --judge CLAP")
    if originals and not judge:
        raise ConfigError("--originals says how well the judge, too, does on the clips of a corpus: give --judge CLAP")
    if report or judge:
        from t2a.report.pages import check_page, write_page

        check_page(model, judge, report is not None)
    evaluation = measure(
        model, corpus, split=split, rows=rows, listened=listened, generated=generated, judge=judge, vocoder=vocoder,
        seed=seed,
    )  # fmt: skip
    found = [(f"{model} on {corpus} ({split})", evaluation)]
    parts = steering = None
    if judge and originals:
        from t2a.evaluate.parts import evaluate_parts

        parts = evaluate_parts(model, originals, judge, split=split, rows=rows, listened=listened, seed=seed)
        found += [(f"{name} on {originals} ({split})", part) for name, part in parts.evaluations().items()]
    if judge:
        from t2a.evaluate.steering import evaluate_steering

        options: dict[str, Any] = {"against": against or (), "clips": clips or 64, "takes": takes or 4}
        steering = evaluate_steering(model, corpus, judge, split=split, seed=seed, **options)
        found.append((f"{model} before the judge", steering.evaluation))
    for title, measured in found:
        for part in printed(measured, title):
            console.print(part, highlight=False)
    if out:
        import json

        plain = evaluation.plain() | (parts.plain() if parts else {})
        plain |= {"steering": steering.evaluation.plain()} if steering else {}
        out.write_text(json.dumps(plain, indent=2, allow_nan=False))
    if report:
        write_page(report, evaluation, steering, model, corpus, split, parts)
        console.print(f"{report}: figures and sounds")
