"""Text-to-audio training at cluster scale: neural codec, audio language model, latent diffusion."""

__version__ = "0.1.0"
