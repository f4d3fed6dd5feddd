"""A trained CLAP that tells how well a sound fits a caption."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.audio.transform import resample, to_mono
from t2a.conditions.encoder import Encoder, Sounds
from t2a.conditions.encoders import EncodersFile
from t2a.models.clap import Clap
from t2a.models.pretrained import locate

AT_ONCE = 16  # sounds a pass


class Judge:
    """Embeds sounds and captions with one model; a sound's embedding does not depend on the others."""

    def __init__(self, model: Clap, text: Encoder) -> None:
        self.model, self.text = model.eval(), text

    @classmethod
    def from_folder(cls, where: str | Path) -> "Judge":
        """Load what `t2a.tasks.clap` exported: a folder, a run, `s3://` or `models:/name@alias`."""
        folder = locate(where)
        model = Clap.from_pretrained(folder)
        return cls(model, EncodersFile.read(folder).encoders["text"].build())

    @property
    def sample_rate(self) -> int:
        """Hz that the model hears; other rates are resampled."""
        return self.model.sample_rate

    @torch.inference_mode()
    def similarity(
        self, waves: Sequence[NDArray[np.float32]], rate: int, captions: Sequence[str]
    ) -> NDArray[np.float32]:
        """Return the cosine [N, M] of each wave [C, T] with each caption."""
        return self.sounds(waves, rate) @ self.captions(captions).T

    def scores(self, captions: Sequence[str], sounds: Sounds) -> NDArray[np.float32]:
        """Return the cosine [B] of each sound with its own caption."""
        return (self.sounds([wave[None] for wave in sounds.mono()], sounds.rate) * self.captions(captions)).sum(-1)

    @torch.inference_mode()
    def sounds(self, waves: Sequence[NDArray[np.float32]], rate: int) -> NDArray[np.float32]:
        """Embed waves [C, T], [N, D] of norm 1."""
        mono = [resample(to_mono(wave), rate, self.sample_rate)[0] for wave in waves]
        parts = []
        for begin in range(0, len(mono), AT_ONCE):
            group = mono[begin : begin + AT_ONCE]
            length = torch.tensor([len(wave) for wave in group])
            batch = torch.zeros(len(group), 1, int(length.max()))
            for row, wave in zip(batch, group, strict=True):
                row[0, : len(wave)] = torch.from_numpy(np.ascontiguousarray(wave))
            parts.append(self.model.audio(batch, length).numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def captions(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Embed captions, [M, D] of norm 1."""
        return self.model.text(self.text(captions)).numpy()
