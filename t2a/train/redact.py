"""Texts without secrets, for logs and trackers."""

import os
import re

SECRET = re.compile(r"SECRET|PASSWORD|TOKEN(?!_PATH|_FILE)|API_KEY|CREDENTIAL")
SHORTEST = 6  # letters of a value that is taken for a secret


def redact(text: str) -> str:
    """Blot out passwords in URLs and the values of environment variables that are named like secrets."""
    for name, value in os.environ.items():
        if SECRET.search(name.upper()) and len(value) >= SHORTEST:
            text = text.replace(value, "***")
    return re.sub(r"(://)[^/@\s:]*:[^/@\s]*@", r"\1***@", text)


def brief(error: BaseException) -> str:
    """An error in one short line."""
    return redact(" ".join(str(error).split())[:200]) or type(error).__name__
