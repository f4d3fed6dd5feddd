"""Architectures, one a file, each with its config."""
