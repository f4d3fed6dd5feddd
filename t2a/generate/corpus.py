"""Batch generation: the captions of a corpus, a table or a text file become a corpus of clips."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2a import storage
from t2a.data.production import Pool, Progress, produce
from t2a.data.shards import Manifest, check_apart
from t2a.data.skips import Skips
from t2a.data.wanted import read_wanted
from t2a.errors import ConfigError
from t2a.generate.loading import generator_of, load
from t2a.generate.request import check_guidance, check_seeds
from t2a.models.pretrained import locate, weights_sha256
from t2a.nn.packed import Precision


class ClipMaker:
    """A loaded generator with all that is the same for every clip of a job."""

    def __init__(
        self,
        model: str,
        seconds: float,
        *,
        guidance: float,
        settings: Mapping[str, Any],
        at_once: int,
        device: str,
        precision: Precision,
    ):
        self.generator = load(model, device, precision)
        self.seconds, self.at_once, self.how = seconds, at_once, {"guidance": guidance, **settings}

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.generator.sample_rate

    def __call__(self, captions: Sequence[str], seeds: Sequence[int]) -> list[NDArray[np.float32]]:
        """Make one clip [C, T] of each caption, `at_once` of them together."""
        clips = []
        for begin in range(0, len(captions), self.at_once):
            some = slice(begin, begin + self.at_once)
            clips += self.generator.generate(captions[some], self.seconds, seeds=seeds[some], **self.how)
        return clips


def generate_corpus(
    model: str,
    captions: str,
    out_uri: str,
    *,
    seconds: float = 5.0,
    guidance: float = 3.0,
    seed: int = 0,
    split: str | None = None,
    settings: Mapping[str, Any] | None = None,
    precision: Precision = "float32",
    at_once: int = 8,
    part_rows: int = 64,
    pool: Pool | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Make a clip of every caption (see `read_wanted`) and write them as a corpus; see `produce` for going on.

    settings: of the model's kind. Raises what reading, loading and generating raise; what can be known to be wrong is
    told before Ray starts.
    """
    for name, count in (("batch", at_once), ("part", part_rows)):
        if count < 1:
            raise ConfigError(f"A {name} of {count} clips makes none: ask for 1 or more.")
    check_guidance(guidance)
    folder, given = locate(model), dict(settings or {})
    generator_of(folder, model).check_job(folder, seconds, given)
    check_apart(captions, out_uri)
    storage.check(out_uri, write=True)
    skips = Skips()
    wanted = read_wanted(captions, split, seed, skips)
    check_seeds([row.seed for row in wanted])
    pool = pool or Pool()
    same = {"guidance": guidance, "settings": given, "precision": precision}
    device = "cuda" if pool.gpus else "cpu"
    maker = partial(ClipMaker, model, seconds, at_once=at_once, device=device, **same)
    source = {"model": model, "model_sha256": weights_sha256(folder), "captions": captions}
    return produce(
        wanted, out_uri, maker, source | {"seconds": seconds} | same, part_rows=part_rows, pool=pool,
        overwrite=overwrite, skipped=skips.counts, progress=progress,
    )  # fmt: skip
