"""`t2a export KIND MODEL OUT`: write a model in another project's layout."""

from typing import Annotated

import typer

from t2a.cli.output import ModelArgument, console

app = typer.Typer(no_args_is_help=True, help="Write a trained model in the layout of another project.")


@app.callback()
def several() -> None:
    """Have the kind named although there is one alone."""


@app.command()
def unet(
    model: ModelArgument,
    out: Annotated[str, typer.Argument(help="The folder to write, local or on s3://.")],
    time_first: Annotated[
        bool,
        typer.Option("--time-first/--time-last", help="Which axis of its latents is time; AudioLDM's is the first."),
    ] = True,
) -> None:
    """The U-Net of a denoiser, as diffusers' UNet2DConditionModel; it is told projected states (see beside it)."""
    from t2a.interop import diffusers_unet
    from t2a.interop.folder import written
    from t2a.models.denoiser import Denoiser

    denoiser = Denoiser.from_pretrained(model)
    written(lambda folder: diffusers_unet.save(denoiser, folder, time_first=time_first), out)
    console.print(
        f"{out}: a UNet2DConditionModel; {diffusers_unet.CONDITIONS} holds the projections of the states that it is "
        "told, and what it is told instead of none"
    )
