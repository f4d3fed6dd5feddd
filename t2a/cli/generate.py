"""`t2a generate MODEL PROMPT`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from t2a.cli.output import ModelArgument, check_sound_file, console, progress_bar
from t2a.errors import ConfigError

LM, DIFFUSION = "Language models", "Diffusion models"  # the headings of their own settings

SamplerOption = Annotated[str | None, typer.Option(help="Such as ddim, dpmpp_2m, euler.", rich_help_panel=DIFFUSION)]
StepsOption = Annotated[int | None, typer.Option(help="25 by default.", rich_help_panel=DIFFUSION)]
EtaOption = Annotated[float | None, typer.Option(help="Noise of ddim, 0 by default.", rich_help_panel=DIFFUSION)]
RescaleOption = Annotated[float | None, typer.Option(help="Of the guidance, 0 to 1.", rich_help_panel=DIFFUSION)]


def generate(
    model: ModelArgument,
    prompt: Annotated[str, typer.Argument(help="What to hear.")],
    seconds: Annotated[float, typer.Option(help="Duration; the clip is exactly this long.")] = 5.0,
    guidance: Annotated[float, typer.Option(help="Classifier-free guidance; 1 is off.", min=0)] = 3.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same clip.", min=0)] = 0,
    count: Annotated[int, typer.Option(help="Clips to make, with seeds SEED, SEED + 1, ...", min=1)] = 1,
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
    temperature: Annotated[float | None, typer.Option(help="1 by default.", rich_help_panel=LM)] = None,
    top_k: Annotated[int | None, typer.Option(help="250 by default; 0 is off.", rich_help_panel=LM)] = None,
    top_p: Annotated[float | None, typer.Option(help="0, off, by default.", rich_help_panel=LM)] = None,
    sampler: SamplerOption = None,
    steps: StepsOption = None,
    eta: EtaOption = None,
    rescale: RescaleOption = None,
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
    settings = told(temperature=temperature, top_k=top_k, top_p=top_p, sampler=sampler, steps=steps, eta=eta,
                    rescale=rescale)  # fmt: skip
    check_sound_file(out)
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
            melody=tune,
            beginning=start,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            **settings,
        )
    for index, (clip, kept, scores) in enumerate(ranked):
        path = out if count == 1 else out.with_stem(f"{out.stem}-{index}")
        write(path, clip, generator.sample_rate)
        among = f", score {max(scores):.3f}, the best of {', '.join(f'{s:.3f}' for s in scores)}" if judged else ""
        console.print(f"{path}: {clip.shape[-1] / generator.sample_rate:g} s, seed {kept}{among}")


def told(**settings: Any) -> dict[str, Any]:
    """The settings that were given; what a model's kind does not know, it refuses itself."""
    return {name: value for name, value in settings.items() if value is not None}
