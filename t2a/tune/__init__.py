"""Searches over recipe overrides with Ray Tune: see `search`."""
