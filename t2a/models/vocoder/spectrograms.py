"""What a vocoder refuses to take."""

from torch import Tensor

from t2a.audio.spectral import MelSpec


def check_shape(mel: Tensor, spec: MelSpec) -> None:
    """Raise `ValueError` for what is no batch of spectrograms [B, M, L] of a recipe with at least one frame."""
    if mel.ndim != 3 or mel.shape[1] != spec.n_mels:
        raise ValueError(f"the vocoder takes spectrograms [B, {spec.n_mels}, L], not {list(mel.shape)}.")
    if not mel.shape[-1]:
        raise ValueError("the vocoder takes spectrograms of at least one frame, these have none.")
