"""The `t2a` command: each verb parses its arguments and calls one function of the package."""

from t2a.cli.main import app, main

__all__ = ["app", "main"]
