"""The untrained models of the tests of evaluation."""

from tests.evaluate.conftest import clap, denoiser, latents

__all__ = ["clap", "denoiser", "latents"]
