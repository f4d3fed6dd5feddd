"""A generator without a model: its clip tells what it was asked for, and how long it takes is in the prompt."""

import os
import time

import numpy as np

from t2a.errors import ConfigError
from t2a.generate.settings import LMSettings


class StandIn:
    """Makes a constant wave of seed / 1000; the prompt "slow N" takes N seconds, "refuse" is refused, "die" kills."""

    settings = LMSettings
    sample_rate = 22050
    max_seconds = 4.0

    def __init__(self, where, device="cpu"):
        if where == "broken":
            raise ConfigError("broken holds a codec, which cannot generate from text: give a trained lm.")

    def generate(self, prompts, seconds, *, seeds, guidance, progress=None, **settings):
        (prompt,) = prompts
        if prompt.startswith("slow"):
            time.sleep(float(prompt.split()[1]))
        if prompt == "refuse":
            raise ConfigError("this model cannot: ask another one.")
        if prompt == "die":
            os._exit(1)
        return [np.full((1, round(seconds * self.sample_rate)), seed / 1000, np.float32) for seed in seeds]

    def stream(self, prompt, seconds, *, seed, **drawing):
        """The same wave in pieces; "slow N" takes its time after the first."""
        (wave,) = self.generate([prompt.removeprefix("slow ")], seconds, seeds=[seed], **drawing)
        return self.pieces(wave, float(prompt.split()[1]) if prompt.startswith("slow") else 0.0)

    def pieces(self, wave, seconds):
        half = wave.shape[1] // 2
        yield wave[:, :half]
        time.sleep(seconds)
        yield wave[:, half:]
