"""Checkpoints and files of other projects, read without running anything they bring."""
