import math

import pytest
import torch

from t2a.audio.chroma import ChromaSpec
from t2a.metrics.chroma import chroma_cosine

SPEC = ChromaSpec(sample_rate=16000, window=2**12)


def tune(notes: list[int], seconds: float = 1.0, overtones: int = 3) -> torch.Tensor:
    time = torch.arange(int(seconds * 16000)) / 16000
    pitches = [440 * 2 ** ((note - 69) / 12) for note in notes]
    waves = [sum((2 * math.pi * f * k * time).sin() / k for k in range(1, overtones + 1)) for f in pitches]
    return torch.cat(waves)[None, None]


def test_a_tune_agrees_with_itself_at_another_octave_level_and_timbre():
    same, other = tune([60, 64, 67, 62]), 0.1 * tune([72, 76, 79, 74], overtones=1)
    assert chroma_cosine(same, same, SPEC).tolist() == [1.0]
    assert chroma_cosine(other, same, SPEC).item() > 0.9


def test_it_is_the_share_of_the_frames_that_agree():
    target = tune([60, 64, 67, 62])
    assert chroma_cosine(tune([60, 64, 61, 63]), target, SPEC).item() == pytest.approx(0.5, abs=0.05)
    assert chroma_cosine(tune([61, 65, 68, 63]), target, SPEC).item() < 0.05


def test_silence_agrees_with_no_tune_and_nothing_agrees_with_silence():
    target, silence = tune([60, 64]), torch.zeros(1, 1, 32000)
    both = chroma_cosine(torch.cat([silence, target]), torch.cat([target, silence]), SPEC)
    assert both[0] == 0
    assert both[1].isnan()
    half = torch.cat([target[..., :16000], silence[..., :16000]], dim=-1)
    assert chroma_cosine(target, half, SPEC).item() > 0.85  # the silent half of the target is not judged


def test_channels_are_averaged_and_the_longer_wave_is_cut():
    target = tune([60, 64])
    stereo = torch.cat([tune([60, 64, 66])] * 2, dim=1)
    assert chroma_cosine(stereo, target, SPEC).tolist() == [1.0]
