"""`t2a edit MODEL IN OUT PROMPT`."""

from pathlib import Path
from typing import Annotated

import typer

from t2a.cli.generate import EtaOption, RescaleOption, SamplerOption, StepsOption, told
from t2a.cli.output import ModelArgument, check_sound_file, console, progress_bar
from t2a.errors import ConfigError


def edit(
    model: ModelArgument,
    source: Annotated[Path, typer.Argument(metavar="IN", help="An audio file.")],
    out: Annotated[Path, typer.Argument(help="The audio file to write.")],
    prompt: Annotated[str, typer.Argument(help="What to hear.")],
    start: Annotated[
        float | None, typer.Option(help="Second from which to make it anew; the rest stays.", min=0)
    ] = None,
    end: Annotated[float | None, typer.Option(help="Second up to which; by default to the end.", min=0)] = None,
    strength: Annotated[
        float | None, typer.Option(help="How far from what is there; 0.5 by default, 1 with --start or --end.")
    ] = None,
    guidance: Annotated[float, typer.Option(help="Classifier-free guidance; 1 is off.", min=0)] = 3.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same sound.", min=0)] = 0,
    sampler: SamplerOption = None,
    steps: StepsOption = None,
    eta: EtaOption = None,
    rescale: RescaleOption = None,
) -> None:
    """Bring a sound nearer to PROMPT, or make a part of it anew, with a diffusion model."""
    from t2a.audio.io import decode, write
    from t2a.generate import load
    from t2a.generate.diffusion import DiffusionGenerator
    from t2a.generate.editing import edit as run

    check_sound_file(out)
    wave, rate = decode(source)
    part = start is not None or end is not None
    span = (start or 0.0, wave.shape[1] / rate if end is None else end) if part else None
    generator = load(model)
    if not isinstance(generator, DiffusionGenerator):
        raise ConfigError(f"{model} is no diffusion model, which alone can edit: give a trained denoiser.")
    settings = told(sampler=sampler, steps=steps, eta=eta, rescale=rescale)
    with progress_bar() as bar:
        task = bar.add_task("editing", total=None)
        (clip,) = run(
            generator,
            (wave, rate),
            [prompt],
            seeds=[seed],
            strength=strength,
            span=span,
            guidance=guidance,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            **settings,
        )
    write(out, clip, generator.sample_rate)
    console.print(f"{out}: {clip.shape[-1] / generator.sample_rate:g} s, seed {seed}")
