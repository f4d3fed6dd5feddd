"""`t2a decompress` for files of the encodec package."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from t2a.generate.decompress import new_audio_file
from t2a.interop import ecdc


def decompress(
    source: Path, out: Path, model: str | None, *, progress: Callable[[int, int], None] | None = None
) -> float:
    """Write the audio of an `.ecdc` file to `out`, whole or not at all, and return its seconds."""
    clip = ecdc.read(source, model)
    with new_audio_file(out, clip.sample_rate, clip.channels) as file:
        for number, wave in enumerate(clip.waves, 1):
            file.write(np.clip(wave, -1, 1).T)
            if progress is not None:
                progress(min(number, clip.segments), clip.segments)
    return clip.length / clip.sample_rate
