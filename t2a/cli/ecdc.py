"""`t2a decompress` for files of the encodec package."""

from pathlib import Path

import numpy as np
from rich.progress import Progress

MAGIC = b"ECDC"


def recognised(source: Path) -> bool:
    """Tell whether a file is an `.ecdc` one, by its first bytes."""
    try:
        with source.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def decompress(source: Path, out: Path, model: str | None, bar: Progress) -> float:
    """Write the audio of an `.ecdc` file to `out`, whole or not at all, and return its seconds."""
    from t2a.generate.decompress import new_audio_file
    from t2a.interop.ecdc import read

    clip = read(source, model)
    with new_audio_file(out, clip.sample_rate, clip.channels) as file, bar:
        task = bar.add_task("decompressing", total=clip.length)
        for wave in clip.waves:
            file.write(np.clip(wave, -1, 1).T)
            bar.advance(task, wave.shape[-1])
    return clip.length / clip.sample_rate
