import subprocess
from pathlib import Path

import numpy as np
import pytest

from t2a.audio.io import decode
from t2a.demo import listening
from t2a.demo.listening import PROMPTS, answer_over_http, generate_prompts, reconstruct, wait_until_healthy
from t2a.errors import T2AError
from tests.train.small import RATE


def test_every_prompt_becomes_a_file_that_is_told_of(models, tmp_path: Path) -> None:
    made = generate_prompts(models.lm, tmp_path, seconds=99.0)
    assert [clip["prompt"] for clip in made] == list(PROMPTS)
    longest = 16 * 32 / RATE  # max_frames of 32 samples
    for clip in made:
        wave, rate = decode(clip["file"])
        assert (rate, wave.shape) == (RATE, (1, round(longest * RATE)))
        assert clip["seconds"] == longest
    assert not np.array_equal(decode(made[0]["file"])[0], decode(made[1]["file"])[0])


def test_reconstructions_lie_beside_originals_of_equal_length(models, tmp_path: Path) -> None:
    made = reconstruct(models.codec, models.corpus, tmp_path, count=2)
    assert [clip["id"] for clip in made] == ["tone-5", "tone-17"]
    for clip in made:
        original, decoded = (decode(clip[name])[0] for name in ("original", "decoded"))
        assert original.shape == decoded.shape
        assert abs(original).max() == pytest.approx(0.3, abs=0.01)
        assert np.isfinite([clip["si_snr"], clip["mel_distance"]]).all()


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    with subprocess.Popen(["false"]) as server:
        server.wait()
        with pytest.raises(T2AError, match=r"ended with exit code 1; its last words are in .*serve\.log"):
            wait_until_healthy(server, "http://127.0.0.1:9", tmp_path / "serve.log")


def test_a_server_that_never_answers_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(listening, "READY_SECONDS", 0.0)
    with pytest.raises(T2AError, match="did not answer within 0 s"):
        answer_over_http(str(tmp_path / "no model"), tmp_path)
