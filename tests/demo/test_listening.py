from pathlib import Path

import numpy as np
import pytest

from t2a.audio.io import decode
from t2a.demo.listening import PROMPTS, generate_prompts, reconstruct
from tests.train.small import RATE


def test_every_model_makes_every_prompt_into_a_file_that_is_told_of(models, tmp_path: Path) -> None:
    made = generate_prompts({"lm": models.lm, "denoiser": models.denoiser}, tmp_path, seconds=99.0)
    assert [row["prompt"] for row in made] == list(PROMPTS)
    longest = 16 * 32 / RATE  # what the language model can do, frames of 32 samples; the denoiser can do more
    for row in made:
        assert row["seconds"] == longest
        assert list(row["clips"]) == ["lm", "denoiser"]
        for clip in row["clips"].values():
            wave, rate = decode(clip["file"])
            assert (rate, wave.shape) == (RATE, (1, round(longest * RATE)))
    clips = [decode(clip["file"])[0] for row in made for clip in row["clips"].values()]
    for index, clip in enumerate(clips):
        assert not any(np.array_equal(clip, other) for other in clips[:index])


def test_copies_lie_beside_originals_of_equal_length(models, tmp_path: Path) -> None:
    made = reconstruct(models._asdict(), models.corpus, tmp_path, count=2)
    assert [clip["id"] for clip in made] == ["tone-5", "tone-17"]
    for clip in made:
        original, rate = decode(clip["original"])
        assert abs(original).max() == pytest.approx(0.3, abs=0.01)
        assert list(clip["copies"]) == ["codec", "vocoder", "autoencoder"]
        waves = [decode(copy["file"]) for copy in clip["copies"].values()]
        assert all((wave.shape, found) == (original.shape, rate) for wave, found in waves)
        assert not np.array_equal(waves[1][0], waves[2][0])
        assert np.isfinite([[copy["si_snr"], copy["mel_distance"]] for copy in clip["copies"].values()]).all()
