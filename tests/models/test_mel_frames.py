"""The spectrogram that audio towers see."""

import torch

from t2a.audio.spectral import MelSpec
from t2a.models.mel_frames import MelFrames

SPEC = MelSpec(rate=8000, n_fft=256, hop=64, n_mels=16, log="ln")
WAVE, LENGTH = torch.randn(2, 1, 2000, generator=torch.Generator().manual_seed(0)), torch.tensor([2000, 900])


def test_a_row_s_frames_are_those_of_the_clip_alone():
    filled = torch.where(torch.arange(2000) < LENGTH[:, None, None], WAVE, 7.0)
    mel, frames = MelFrames(SPEC)(filled, LENGTH)
    alone, count = MelFrames(SPEC)(WAVE[1:, :, :900], LENGTH[1:])
    assert frames.tolist() == [30, count.item()] == [30, 13]
    torch.testing.assert_close(mel[1:, :, :13], alone)


def test_a_model_cast_to_bfloat16_sees_the_same():
    exact, cast = (frames(WAVE, LENGTH)[0] for frames in (MelFrames(SPEC), MelFrames(SPEC).bfloat16()))
    assert torch.equal(exact, cast)
