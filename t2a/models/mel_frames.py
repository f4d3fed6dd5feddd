"""The log-mel spectrogram as audio towers see it: of every clip only the frames whose windows lie within it."""

import math

from torch import Tensor

from t2a.audio.spectral import MelSpec, MelSpectrogram
from t2a.nn.uncast import Uncast

LOGARITHMS = {"ln": math.log, "log10": math.log10}


class MelFrames(Uncast):
    """Wave [B, 1, T] with real lengths [B] to mel bands [B, M, L] and real frames int64 [B], at least one.

    Frames that see what comes after a clip's end are none of its own: a clip looks alike alone and filled up.
    """

    def __init__(self, spec: MelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.mel = MelSpectrogram(spec)

    @property
    def floor(self) -> float:
        """The value of silence."""
        return LOGARITHMS[self.spec.log](self.spec.floor)

    def forward(self, wave: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        frames = ((length - self.spec.n_fft // 2) // self.spec.hop + 1).clamp(min=1)
        return self.mel(wave[:, 0])[..., : self.most(wave.shape[-1])], frames

    def most(self, samples: int) -> int:
        """Count the frames of a clip of so many samples."""
        return max((samples - self.spec.n_fft // 2) // self.spec.hop + 1, 1)


def checked(spec: MelSpec, bands: int) -> MelSpec:
    """Return a spec whose bands can be cut into parts of `bands`. Raises `ValueError`, as validators do."""
    if spec.n_mels % bands:
        raise ValueError(f"mel.n_mels {spec.n_mels} must be a multiple of {bands}, the bands that become one")
    if spec.log not in LOGARITHMS:
        raise ValueError(f"mel.log is {spec.log}, a tower hears levels: take {' or '.join(LOGARITHMS)}")
    if not spec.center:
        raise ValueError("mel.center is false: take true, so that frames can be told apart from what fills up")
    return spec
