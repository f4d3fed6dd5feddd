"""In processes of their own: what is imported once in a process cannot be imported in another order."""

import subprocess
import sys

import librosa
import numpy as np
import torch

from t2a.audio.torchaudio_backend import resample

USE = """
import torch, torchaudio
assert torchaudio.functional.melscale_fbanks(33, 0.0, 4000.0, 8, 8000).shape == (33, 8)
assert torchaudio.transforms.Resample(8000, 4000)(torch.zeros(1, 80)).shape == (1, 40)
"""
REFUSE = """
import torch
load = torch.ops.load_library
def refuse(path):
    if "torchaudio" in str(path):
        raise OSError("libc10_cuda.so: cannot open shared object file")
    load(path)
torch.ops.load_library = refuse
"""  # as beside a torch for the CPU, also on a machine where it would load


def run(*code):
    code = "\n".join([*code, "print('fine')"])
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fine", done.stderr[-2000:]


def test_torchaudio_comes_before_transformers():
    run(REFUSE, "import t2a.audio.torchaudio_backend", USE, "from transformers import T5EncoderModel")


def test_transformers_comes_before_torchaudio():
    order = "import transformers\nimport t2a.audio.torchaudio_backend\nfrom transformers import T5EncoderModel"
    run(REFUSE, order, USE)


def test_an_import_that_failed_before_does_no_harm():
    failed = """
try:
    import torchaudio
except OSError:
    pass
else:
    raise SystemExit("the refusal of the compiled part has no effect")
"""
    run(REFUSE, failed, "import t2a.audio.torchaudio_backend", USE)


def test_functions_of_the_compiled_part_say_that_it_is_missing():
    use = """
import t2a.audio.torchaudio_backend as backend
try:
    backend.torchaudio.functional.forced_align(None, None)
except RuntimeError as error:
    assert "compiled part" in str(error), error
else:
    raise SystemExit("no error")
"""
    run(REFUSE, use)


def test_tensors_are_resampled_as_by_librosa_and_differentiably():
    wave = torch.sin(2 * torch.pi * 440 * torch.arange(8000) / 8000).requires_grad_()
    got = resample(wave[None], 8000, 16000)
    expected = librosa.resample(wave.detach().numpy(), orig_sr=8000, target_sr=16000, res_type="soxr_hq")
    assert got.shape == (1, 16000)
    np.testing.assert_allclose(got[0, 800:-800].detach(), expected[800:-800], atol=5e-3)
    got.sum().backward()
    assert wave.grad is not None
    assert resample(wave, 8000, 8000) is wave
