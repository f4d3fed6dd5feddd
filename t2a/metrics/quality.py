"""How a wave sounds beside the one it stands for: ViSQOL, PESQ and STOI of one clip, as the reference programs have it.

Waves are [C, T] or [T] at one rate; their channels are averaged and the result resampled (soxr, high quality) to the
rate that the measure is defined at. All three depend on the original, so each says `nan` of what cannot be judged, a
silent original or a clip too short, and gives silence in the place of sound the lowest mark: the programs themselves
fail on it, or find it excellent.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2a.audio.transform import peak, resample, to_mono
from t2a.errors import ConfigError

Mode = Literal["audio", "speech"]
Mono = NDArray[np.float32]

SILENCE = 2.0**-16
"""Samples below half a step of 16 bits would be stored as nothing."""
PACKAGES = {"visqol": "visqol-python", "pesq": "pesq"}
VISQOL_RATES: dict[Mode, int] = {"audio": 48000, "speech": 16000}
SHORTEST = {"visqol": 1.0, "pesq": 0.25, "stoi": 0.5}
"""Seconds that each needs: ViSQOL a patch of 0.6 s away from both ends, PESQ its program's limit, STOI 30 frames."""


class MissingPackageError(ConfigError):
    """A measure that was not installed is asked for."""


def available(name: str) -> bool:
    """Tell whether the package behind "visqol", "pesq" or "stoi" is installed; the last one always is."""
    return find_spec(PACKAGES.get(name, "pystoi").split("-")[0]) is not None


def visqol(estimate: ArrayLike, target: ArrayLike, rate: int, mode: Mode = "audio") -> float:
    """Mean opinion score from 1 to 4.73 ("audio", 48 kHz) or to 5 ("speech", 16 kHz) (Chinen et al., ViSQOL v3, 2020).

    It tells good coders apart, not bad ones: "audio" gives noise in the place of music about 3. Levels and delays are
    evened out first. Speech is mapped by the polynomial, not by the lattice model, which needs another library.
    Raises `MissingPackageError` without visqol-python.
    """
    return _judged("visqol", estimate, target, rate, VISQOL_RATES[mode], 1.0, _visqol(mode))


def pesq(estimate: ArrayLike, target: ArrayLike, rate: int) -> float:
    """Wide-band PESQ, 1 to 4.64, of speech at 16 kHz (ITU-T P.862.2). Raises `MissingPackageError` without pesq.

    It is `nan` as well where the program finds no utterance in the original.
    """
    _require("pesq")
    from pesq import NoUtterancesError
    from pesq import pesq as program

    def score(a: Mono, b: Mono) -> float:
        try:
            return float(program(16000, b, a, "wb"))
        except NoUtterancesError:
            return float("nan")

    return _judged("pesq", estimate, target, rate, 16000, 1.0, score)


def stoi(estimate: ArrayLike, target: ArrayLike, rate: int) -> float:
    """Short-time objective intelligibility of speech, at most 1, at 10 kHz (Taal et al., 2011).

    It is `nan` as well where less than 30 frames (0.4 s) of the original are not silent.
    """
    from pystoi import stoi as program

    def score(a: Mono, b: Mono) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # the program's own answer to that is 1e-5
            try:
                return float(program(b, a, 10000))
            except RuntimeWarning:
                return float("nan")

    return _judged("stoi", estimate, target, rate, 10000, 0.0, score)


def _judged(
    name: str,
    estimate: ArrayLike,
    target: ArrayLike,
    rate: int,
    at: int,
    lowest: float,
    score: Callable[[Mono, Mono], float],
) -> float:
    """Prepare both waves, and judge without the program what it would not judge rightly."""
    a, b = (np.atleast_2d(np.asarray(x, np.float32)) for x in (estimate, target))
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"{name} compares two waves [C, T] of one shape, not {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"{name} compares waves of finite samples; there is NaN or infinity in them")
    if peak(b) < SILENCE or b.shape[1] < SHORTEST[name] * rate:
        return float("nan")
    silent = peak(a) < SILENCE
    a, b = (resample(to_mono(x), rate, at)[0] for x in (b if silent else a, b))
    found = score(a, b)
    return lowest if silent and not np.isnan(found) else found


@lru_cache(maxsize=2)
def _visqol(mode: Mode) -> Callable[[Mono, Mono], float]:
    _require("visqol")
    from visqol import VisqolApi

    api: Any = VisqolApi()
    # With None it would take the lattice model wherever that happens to be installed, and score differently.
    api.create(mode=mode, **({"use_lattice_model": False} if mode == "speech" else {}))

    def score(a: Mono, b: Mono) -> float:
        try:
            return float(api.measure_from_arrays(b.astype(np.float64), a.astype(np.float64), VISQOL_RATES[mode]).moslqo)
        except (IndexError, ValueError):  # so it says that it found no patch of sound to compare
            return float("nan")

    return score


def _require(name: str) -> None:
    if not available(name):
        raise MissingPackageError(
            f"{PACKAGES[name]} is not installed: install t2a[quality], which compiles it (a C++ compiler and Python's "
            "headers are needed)."
        )
