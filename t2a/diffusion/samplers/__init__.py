"""Samplers as pure functions: each yields x step by step."""

from t2a.diffusion.samplers.draws import Draw
from t2a.diffusion.samplers.table import SAMPLERS, check, sample

__all__ = ["SAMPLERS", "Draw", "check", "sample"]
