"""`t2a import KIND SRC OUT`: make a model folder of another project's checkpoint."""

from typing import Annotated, Any, Literal

import typer

from t2a.cli.output import console
from t2a.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    help="Take over a trained model of another project. Tensors only: no code that a file brings is run.",
)

OutArgument = Annotated[str, typer.Argument(help="The model folder to write, local or on s3://.")]
MelOption = Annotated[
    str | None, typer.Option(help="Of a HiFi-GAN: a YAML file with what the source does not tell of its spectrogram.")
]


@app.command()
def huggingface(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, or an id such as facebook/musicgen-small.")],
    out: OutArgument,
    mel: MelOption = None,
) -> None:
    """A MusicGen (mono, stereo or melody), an EncodecModel or a SpeechT5HifiGan of transformers."""
    from t2a.config import read
    from t2a.interop import encodec, hifigan, huggingface, language, musicgen, vocoder

    kind, spec = huggingface.model_type(source), read(mel) if mel else {}
    if mel and kind != hifigan.KIND:
        raise ConfigError(f"--mel is for a {hifigan.KIND}, {source} holds a {kind}; leave it out.")
    importers = dict.fromkeys(musicgen.KINDS, lambda: language.convert(lambda: musicgen.load(source), out))
    importers[hifigan.KIND] = lambda: vocoder.convert(lambda: hifigan.load(source, spec), out)
    told = importers.get(kind or "", lambda: encodec.convert(lambda: huggingface.load(source), out))()
    console.print(f"{out}: {told}")


@app.command()
def audiocraft(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A folder with state_dict.bin, compression_state_dict.bin or both.")
    ],
    out: OutArgument,
    codec: Annotated[str | None, typer.Option(help="Of a language model: its codec, a model folder of t2a.")] = None,
    text: Annotated[str | None, typer.Option(help="Of a language model: its T5, a folder or a hub name.")] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Hz; where a codec does not tell.", min=1)] = None,
    causal: Annotated[bool | None, typer.Option("--causal/--no-causal", help="Where a codec does not tell.")] = None,
    pad_mode: Annotated[
        Literal["constant", "reflect", "replicate"] | None, typer.Option(help="Where a codec does not tell.")
    ] = None,
) -> None:
    """An AudioGen, a MusicGen, a codec of AudioCraft, or a checkpoint of the encodec package."""
    from t2a.interop import audiocraft, audiocraft_lm, encodec, language

    given: dict[str, Any] = {"sample_rate": sample_rate, "causal": causal, "pad_mode": pad_mode}
    package = audiocraft_lm.find(source)
    kind, wrong = ("language model", given) if package else ("codec", {"codec": codec, "text": text})
    if unused := [f"--{name.replace('_', '-')}" for name, value in wrong.items() if value is not None]:
        raise ConfigError(f"{source} holds a {kind}, which does not take {' and '.join(unused)}; leave that out.")
    if package:
        told = language.convert(lambda: audiocraft_lm.load(package, codec=codec, text=text), out)
    else:
        told = encodec.convert(lambda: audiocraft.load(source, **given), out)
    console.print(f"{out}: {told}")


@app.command()
def autoencoder(
    source: Annotated[
        str,
        typer.Argument(metavar="SRC", help="A pipeline of diffusers, its vae folder, or an id such as cvssp/audioldm."),
    ],
    out: OutArgument,
    mel: Annotated[
        str | None, typer.Option(help="A YAML file that says what its spectrograms are; by default AudioLDM's.")
    ] = None,
    time_first: Annotated[
        bool,
        typer.Option("--time-first/--time-last", help="Which axis of its pictures is time; AudioLDM's is the first."),
    ] = True,
) -> None:
    """The spectrogram autoencoder (AutoencoderKL) of an AudioLDM, or another in diffusers' layout."""
    from t2a.audio.spectral import MelSpec
    from t2a.config import load
    from t2a.interop import diffusers_vae

    spec = load(MelSpec, mel) if mel else diffusers_vae.AUDIOLDM
    told = diffusers_vae.convert(lambda: diffusers_vae.load(source, spec, time_first=time_first), out)
    console.print(f"{out}: {told}")


@app.command()
def hifigan(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder with config.json and one generator's file.")],
    out: OutArgument,
    mel: MelOption = None,
) -> None:
    """A HiFi-GAN of its authors' release (V1, V2, V3)."""
    from t2a.config import read
    from t2a.interop import hifigan, vocoder

    spec = read(mel) if mel else {}
    told = vocoder.convert(lambda: hifigan.load_released(source, spec), out)
    console.print(f"{out}: {told}")


@app.command()
def vocos(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, or an id such as charactr/vocos-mel-24khz.")],
    out: OutArgument,
) -> None:
    """A Vocos of mel spectrograms, of the vocos package."""
    from t2a.interop import vocoder, vocos

    told = vocoder.convert(lambda: vocos.load(source), out)
    console.print(f"{out}: {told}")


@app.command()
def audioldm(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A pipeline of diffusers, or an id such as cvssp/audioldm-s-full-v2.")
    ],
    out: OutArgument,
    mel: Annotated[
        str | None, typer.Option(help="A YAML file with what is other in its spectrogram than in AudioLDM's.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="The longest clip; by default what AudioLDM was trained on.")] = 10.24,
) -> None:
    """A whole AudioLDM: its U-Net with autoencoder, vocoder and text encoder, which generates at once."""
    from t2a.config import read
    from t2a.interop import audioldm

    told = audioldm.convert(source, out, read(mel) if mel else None, seconds)
    console.print(f"{out}: {told}")
