"""Hours of audio in memory that does not grow: the commands in processes of their own, by their peak RSS."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from t2a.models.codec import Codec, CodecConfig
from t2a.nn.quantize import QuantizerConfig
from tests.generate.test_decompress import entropy_model

RATE, HOURS = 16000, 2
COMMAND = "import resource; from t2a.cli.main import app; app(standalone_mode=False); "
PEAK = "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def peak(*arguments: str | Path) -> float:
    """Run `t2a ARGUMENTS` and return its peak RSS in GB."""
    command = [sys.executable, "-c", COMMAND + PEAK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split("peak")[-1]) * 1024 / 1e9


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "hours.wav"
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 1, subtype="PCM_16") as file:
        for _ in range(HOURS * 60):
            file.write(0.1 * rng.standard_normal(60 * RATE))
    return path


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("foreseen", "bytes_a_code"), [(False, 1.02), (True, 1.4)], ids=["packed", "entropy"])
def test_two_hours_go_through_in_a_gigabyte_and_a_half(clip, tmp_path, foreseen, bytes_a_code):
    """An entropy model that has learnt nothing makes files larger, not smaller."""
    torch.manual_seed(0)
    shape = {"filters": 2, "ratios": (8, 5, 4, 2), "dimension": 16, "lstm_layers": 1}
    Codec(CodecConfig(**shape, quantizer=QuantizerConfig(codebooks=4, bins=256))).save_pretrained(tmp_path / "codec")
    model = {"codebooks": 4, "bins": 256, "past": 175}
    with_entropy = ["--entropy", entropy_model(tmp_path / "entropy", **model)] if foreseen else []
    packed, back = tmp_path / "packed", tmp_path / "back.wav"
    there = peak("compress", clip, packed, "--model", tmp_path / "codec", *with_entropy)
    again = peak("decompress", packed, back)
    print(f"\npeak RSS {there:.2f} GB to compress, {again:.2f} GB to decompress; {packed.stat().st_size:,} bytes")
    assert max(there, again) < 1.5
    assert packed.stat().st_size < bytes_a_code * HOURS * 3600 * RATE / 320 * 4
    assert soundfile.info(back).frames == HOURS * 3600 * RATE
