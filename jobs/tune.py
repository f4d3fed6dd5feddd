"""Search a recipe: `ray job submit --working-dir . -- python jobs/tune.py RECIPE SPACE [key=value ...]`."""

import sys

from t2a.errors import T2AError
from t2a.tune.search import tune


def main(recipe: str, space: str, *overrides: str) -> int:
    """Search, print the trials and say where the best recipe is; returns the exit code."""
    try:
        tune(recipe, space, overrides, progress=sys.stderr.isatty())
    except T2AError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: tune.py RECIPE SPACE [key=value ...]")
    sys.exit(main(*sys.argv[1:]))
