"""Latent diffusion as pure functions: noise schedules, objectives, samplers, guidance."""
