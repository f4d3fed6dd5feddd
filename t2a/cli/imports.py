"""`t2a import KIND SRC OUT`: make a model folder of another project's checkpoint."""

from typing import Annotated, Any, Literal

import typer
from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    help="Take over a trained codec of another project. Tensors only: no code that a file brings is run.",
)

OutArgument = Annotated[str, typer.Argument(help="The model folder to write, local or on s3://.")]


@app.command()
def huggingface(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, or an id such as facebook/encodec_24khz.")],
    out: OutArgument,
) -> None:
    """An EncodecModel of transformers."""
    from t2a.interop import huggingface
    from t2a.interop.encodec import convert

    Console().print(f"{out}: {convert(lambda: huggingface.load(source), out)}")


@app.command()
def audiocraft(
    source: Annotated[str, typer.Argument(metavar="SRC", help="compression_state_dict.bin, or the folder it is in.")],
    out: OutArgument,
    sample_rate: Annotated[int | None, typer.Option(help="Hz; where the file does not tell.", min=1)] = None,
    causal: Annotated[bool | None, typer.Option("--causal/--no-causal", help="Where the file does not tell.")] = None,
    pad_mode: Annotated[
        Literal["constant", "reflect", "replicate"] | None, typer.Option(help="Where the file does not tell.")
    ] = None,
) -> None:
    """A codec of AudioCraft, or a checkpoint of the encodec package."""
    from t2a.interop import audiocraft
    from t2a.interop.encodec import convert

    told: dict[str, Any] = {"sample_rate": sample_rate, "causal": causal, "pad_mode": pad_mode}
    Console().print(f"{out}: {convert(lambda: audiocraft.load(source, **told), out)}")
