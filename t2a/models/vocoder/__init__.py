"""From mel spectrograms [B, M, L] to waves [B, 1, L * hop]."""

from t2a.models.vocoder.griffin_lim import GriffinLim
from t2a.models.vocoder.hifigan import HifiGan, HifiGanConfig
from t2a.models.vocoder.loading import VOCODERS, Vocoder, VocoderConfig, load_vocoder
from t2a.models.vocoder.vocos import Vocos, VocosConfig

__all__ = [
    "VOCODERS",
    "GriffinLim",
    "HifiGan",
    "HifiGanConfig",
    "Vocoder",
    "VocoderConfig",
    "Vocos",
    "VocosConfig",
    "load_vocoder",
]
