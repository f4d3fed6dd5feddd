"""A trained CLAP that tells how well a sound fits a caption."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from t2a.audio.transform import to_mono
from t2a.conditions.encoder import Sounds
from t2a.conditions.trained_clap import TrainedClap
from t2a.errors import CheckpointError
from t2a.generate.states import together
from t2a.models.pretrained import locate


class Judge:
    """Embeds sounds and captions with one model; a sound's embedding does not depend on the others."""

    def __init__(self, clap: TrainedClap) -> None:
        self.clap = clap

    @classmethod
    def from_folder(cls, where: str | Path) -> "Judge":
        """Load what `t2a.tasks.clap` exported: a folder, a run, `s3://` or `models:/name@alias`."""
        return cls(TrainedClap(locate(where)))

    @property
    def sample_rate(self) -> int:
        """Hz that the model hears; other rates are resampled."""
        return self.clap.model.sample_rate

    def similarity(
        self, waves: Sequence[NDArray[np.float32]], rate: int, captions: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return the cosine [N, M] of each wave [C, T] with each caption."""
        return self.sounds(waves, rate) @ self.captions(captions).T

    def scores(self, captions: Sequence[str], sounds: Sounds) -> NDArray[np.float32]:
        """Return the cosine [B] of each sound with its own caption."""
        return (_finite(self.clap.sounds(sounds)) * self.captions(captions)).sum(-1)

    def sounds(self, waves: Sequence[NDArray[np.float32]], rate: int) -> NDArray[np.float32]:
        """Embed waves [C, T], [N, D] of norm 1."""
        return _finite(self.clap.sounds(together([to_mono(wave) for wave in waves], rate)))

    def captions(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Embed captions, [M, D] of norm 1."""
        return _finite(self.clap.captions(captions).tokens[:, 0])


def _finite(vectors: Tensor) -> NDArray[np.float32]:
    """Raise `CheckpointError` for what no ranking can be made of."""
    if not vectors.isfinite().all():
        raise CheckpointError("The CLAP that judges gives NaN, its weights are broken: use another checkpoint.")
    return vectors.cpu().numpy()
