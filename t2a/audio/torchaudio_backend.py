"""The one way to torchaudio: makes its Python part importable where its compiled part is not.

The wheels of torchaudio are linked against one release of CUDA. Beside a torch for the CPU or for another CUDA,
`import torchaudio` raises, and so does every import of transformers that looks at it. Only the pure Python part is
needed here, and torchaudio runs without the compiled one if its loader says there is none. So: import this module
before anything that imports torchaudio or transformers.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from typing import Any, Literal

from torch import Tensor

_LOADER = "torchaudio._extension"


def _unavailable(*_: Any, **__: Any) -> None:
    raise RuntimeError("This function of torchaudio needs its compiled part, which does not load beside this torch.")


def _loader_without_extension() -> types.ModuleType:
    """Stand in for `torchaudio._extension` with the names that torchaudio's Python part reads from it."""
    loader: Any = types.ModuleType(_LOADER)
    loader._IS_TORCHAUDIO_EXT_AVAILABLE = False
    loader._IS_ALIGN_AVAILABLE = False
    loader._check_cuda_version = lambda: None
    loader._load_lib = lambda name: False
    loader.fail_if_no_align = lambda function: _unavailable
    return loader


def _import_torchaudio() -> types.ModuleType:
    try:
        return importlib.import_module("torchaudio")
    except (OSError, ImportError, RuntimeError):
        for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
            del sys.modules[name]  # left half-imported by the attempt
        sys.modules[_LOADER] = _loader_without_extension()
        return importlib.import_module("torchaudio")


torchaudio: Any = _import_torchaudio()


def mel_filterbank(
    n_freqs: int,
    fmin: float,
    fmax: float,
    n_mels: int,
    rate: int,
    norm: Literal["slaney"] | None,
    scale: Literal["htk", "slaney"],
) -> Tensor:
    """Triangular mel filters [n_freqs, n_mels] float32 over 0..rate/2 Hz."""
    with warnings.catch_warnings():
        # The short windows of a multi-resolution loss have bands narrower than a bin: those stay zero, as published.
        warnings.filterwarnings("ignore", message="At least one mel filterbank has all zero values")
        return torchaudio.functional.melscale_fbanks(n_freqs, fmin, fmax, n_mels, rate, norm=norm, mel_scale=scale)


def resample(wave: Tensor, rate: int, to: int) -> Tensor:
    """Resample [..., T] at `rate` to [..., ceil(T * to / rate)] at `to`, differentiably (windowed sinc)."""
    return wave if rate == to else torchaudio.functional.resample(wave, rate, to)
