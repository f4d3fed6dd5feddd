"""Frozen encoders of what a generator is told."""
