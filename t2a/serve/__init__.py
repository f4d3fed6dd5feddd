"""Trained models behind HTTP: the API, the Ray Serve application around it, and `t2a serve`."""
