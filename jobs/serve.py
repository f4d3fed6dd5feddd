"""Serve a model: `ray job submit --working-dir . -- python jobs/serve.py MODEL [--replicas N ...]`."""

import argparse
import sys

from t2a.errors import T2AError
from t2a.serve.run import serve


def main() -> int:
    """Serve until the job is stopped; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model, step or run folder, s3://..., or models:/name@alias")
    parser.add_argument("--host", default="127.0.0.1", help="where the proxy listens, on the cluster's head")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--queue", type=int, default=16, help="requests that may wait before there is a 503")
    parser.add_argument("--gpu", action="store_true", help="a GPU for each replica")
    options = parser.parse_args()
    try:
        serve(**vars(options))
    except T2AError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
