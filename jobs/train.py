"""Train a recipe: `ray job submit --working-dir . -- python jobs/train.py RECIPE [key=value ...]`."""

import sys

from t2a.config import load
from t2a.errors import T2AError
from t2a.train.fit import fit
from t2a.train.run import Run


def main(recipe: str, *overrides: str) -> int:
    """Train and say where the model is; returns the exit code."""
    try:
        result = fit(load(Run, recipe, overrides), quiet=False)
    except T2AError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(result.model_uri)
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: train.py RECIPE [key=value ...]")
    sys.exit(main(*sys.argv[1:]))
