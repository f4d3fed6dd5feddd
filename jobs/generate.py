"""Generate clips: `ray job submit --working-dir . -- python jobs/generate.py MODEL OUT --prompt TEXT`."""

import argparse
import sys
from pathlib import Path

from t2a import storage
from t2a.audio.io import encode_wav
from t2a.errors import ConfigError, T2AError
from t2a.generate import load


def main() -> int:
    """Write OUT/00000.wav, ... returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model, step or run folder, s3://..., or models:/name@alias")
    parser.add_argument("out", help="the folder or s3://... to write to")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", help="one prompt")
    what.add_argument("--file", type=Path, help="a text file with one prompt a line")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first clip; the next ones count up")
    parser.add_argument("--batch", type=int, default=8, help="clips made together")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    try:
        generate(options)
    except T2AError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def generate(options: argparse.Namespace) -> None:
    try:
        text = options.prompt if options.file is None else options.file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {options.file}: {error.strerror}; check the path") from error
    prompts = [line.strip() for line in text.splitlines() if line.strip()]
    if not prompts:
        raise ConfigError(f"{options.file or '--prompt'} holds no prompt: write one a line")
    storage.check(options.out, write=True)
    generator = load(options.model, options.device)
    for first in range(0, len(prompts), options.batch):
        some = prompts[first : first + options.batch]
        seeds = [options.seed + first + index for index in range(len(some))]
        clips = generator.generate(some, options.seconds, seeds=seeds, guidance=options.guidance)
        for index, clip in enumerate(clips, start=first):
            uri = storage.join(options.out, f"{index:05d}.wav")
            storage.write_bytes(uri, encode_wav(clip, generator.sample_rate))
            print(f"{uri}: {prompts[index]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
