"""The untrained models of the tests of evaluation."""

from tests.evaluate.conftest import clap, denoiser, latents, lm

__all__ = ["clap", "denoiser", "latents", "lm"]
