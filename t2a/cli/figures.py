"""How `t2a evaluate` prints what it has measured."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from t2a.evaluate.evaluation import SPEEDS, UNITS, Evaluation
from t2a.metrics.interval import Interval

AT_ONCE = 3  # columns, so that a terminal of 80 has room for them


def printed(evaluation: Evaluation, title: str) -> Iterator[RenderableType]:
    """Yield tables with one row a system, and what has to be said beside them."""
    systems = evaluation.by_system()
    metrics = list(dict.fromkeys(metric for row in systems.values() for metric in row))
    for first in range(0, len(metrics), AT_ONCE):
        shown = metrics[first : first + AT_ONCE]
        heads = [f"{metric}\n{UNITS.get(metric, '')}" for metric in shown]
        table = Table("", *heads, title=title if first == 0 else None, caption="mean and 95 % interval over clips")
        table.columns[0].no_wrap = True
        for system, row in systems.items():
            if any(metric in row for metric in shown):
                table.add_row(system, *(_cell(row.get(metric)) for metric in shown))
        yield table
    yield from _conditions(evaluation.conditions)


def _cell(figure: Interval | None) -> str | Text:
    if figure is None:
        return ""
    bounds = f"{figure.low:.3g} .. {figure.high:.3g}" if math.isfinite(figure.low) else "one clip"
    return Text.assemble(f"{figure.mean:.3g}\n", (bounds, "dim"))


def _conditions(conditions: Mapping[str, Any]) -> Iterator[RenderableType]:
    if books := conditions.get("codebooks"):
        table = Table("codebook", "codes in use", "perplexity", caption=f"of {books[0]['frames']:,} held-out frames")
        for number, book in enumerate(books, 1):
            table.add_row(str(number), f"{book['usage']:.0%}", f"{book['perplexity']:.0f}")
        yield table
    if latents := conditions.get("latents"):
        shape, (low, high) = " x ".join(map(str, latents["shape"])), latents["std"]
        yield (
            f"latents: {latents['frame_rate']:g} frames a second of {shape}; over all clips the channels' means are "
            f"within {latents['mean']:.2g} of 0, their standard deviations {low:.2g} to {high:.2g}"
        )
    if speed := conditions.get("speed"):
        told = " and ".join(f"{verb} {speed[name]:.3g}" for name, verb in SPEEDS.items() if name in speed)
        yield f"speed: {told} seconds of sound in a second, on {speed['threads']} threads"
    if "sample" in conditions:
        yield f"{conditions['clips']} clips, {conditions['sample']}"
    if "generated" in conditions:
        yield f"generated: {conditions['generated']}"
    for what, names in (("skipped", conditions.get("skipped")), ("left out", conditions.get("left_out"))):
        for name, why in (names or {}).items():
            yield f"{what}: {name}: {why}"
