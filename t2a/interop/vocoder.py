"""A vocoder of another project, as it is written into a model folder."""

from collections.abc import Callable

from t2a.interop.encodec import write
from t2a.models.vocoder import Vocoder


def convert(load: Callable[[], Vocoder], out: str) -> str:
    """Write what `load` returns as the model folder `out`, local or on s3://, and say in a sentence what it is.

    Raises `ConfigError` when something lies there.
    """
    model = write(load, out)
    count, mel = sum(parameter.numel() for parameter in model.parameters()), model.mel_spec
    return (
        f"a vocoder ({model.model_type}) of {count / 1e6:.2f} M parameters: {mel.rate:,} Hz; it takes {mel.n_mels} mel "
        f"bands from {mel.fmin:g} to {mel.fmax or mel.rate / 2:g} Hz, n_fft {mel.n_fft}, hop {mel.hop}, "
        f"{'centred' if mel.center else 'not centred'}, {mel.log} of {mel.floor:g} and more, "
        f"{mel.scale} scale, norm {mel.norm}"
    )
