"""Generate a corpus: `ray job submit --working-dir . -- python jobs/generate.py MODEL CAPTIONS OUT [key=value ...]`.

Run again, it goes on where it was stopped. key=value are settings of the model's kind: top_k=50, or steps=25.
"""

import argparse
import sys

from t2a.config import parse, validate
from t2a.data.production import Pool
from t2a.errors import ConfigError, T2AError
from t2a.generate.corpus import generate_corpus


def main() -> int:
    """Write the corpus and say what it holds; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model, step or run folder, s3://..., or models:/name@alias")
    parser.add_argument(
        "captions", help="a corpus, a .csv with a column `caption`, or a .txt with one a line; or s3://"
    )
    parser.add_argument("out_uri", metavar="out", help="the corpus to write: a folder or s3://...")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings of the model's kind")
    parser.add_argument("--split", help="of a corpus or table; by default all")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first clip; the next ones count up")
    parser.add_argument("--batch", dest="at_once", type=int, default=8, help="clips that an actor makes together")
    parser.add_argument("--part", dest="part_rows", type=int, default=64, help="clips that a stop may cost an actor")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "int8"))
    parser.add_argument("--actors", type=int, default=1, help="copies of the model")
    parser.add_argument("--cpus", type=float, default=1.0, help="that each of them takes")
    parser.add_argument("--gpus", type=float, default=0.0, help="likewise; more than 0 uses a GPU")
    parser.add_argument("--overwrite", action="store_true", help="replace a corpus that is there")
    options = vars(parser.parse_intermixed_args())
    try:
        pool = validate(Pool, {name: options.pop(name) for name in ("actors", "cpus", "gpus")}, "the actors")
        options["settings"] = dict(setting(text) for text in options["settings"])
        made = generate_corpus(**options, pool=pool, progress=tell)
    except T2AError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    clips, seconds = (sum(getattr(shard, name) for shard in made.shards) for name in ("rows", "seconds"))
    print(f"{options['out_uri']}: {clips} clips, {seconds:.0f} s; skipped: {made.skipped or 'none'}")
    return 0


def tell(done: int, total: int) -> None:
    print(f"{done}/{total} clips", flush=True)


def setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{text!r}: a setting has the form key=value")
    return name, parse(value, text)


if __name__ == "__main__":
    sys.exit(main())
