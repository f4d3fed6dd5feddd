"""Sequences of codes: interleaving patterns and sampling."""
