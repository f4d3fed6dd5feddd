"""What captions are worth to a model: its loss with the right one, with another's and without any."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from t2a.metrics.interval import Interval, bootstrap
from t2a.tasks.conditioning import derange
from t2a.tasks.task import Task

TOLD = {"": "its caption", "_shuffled": "another caption", "_null": "no caption"}
"""how a task's evaluation ends the names of its losses, and what the model was told then"""
FILLING = {"_filling": "its caption, filling gaps"}
"""the same of a model that fills gaps, whose other losses are those of a model that is shown nothing"""

Batches = Sequence[Mapping[str, Any]]


def losses(task: Task, nets: Mapping[str, nn.Module], batches: Batches, name: str) -> dict[str, NDArray[np.float64]]:
    """Evaluate a task on held-out batches: the loss `name` of each row, [N], by what the model was told.

    A row in whose batch there is no other caption has no loss with another one: NaN.
    """
    values: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for batch in batches:
        real = batch["weight"].numpy() > 0
        found = task.evaluate(nets, batch)
        alone = torch.tensor([row == other for row, other in enumerate(derange(batch["captions"]))])
        found[f"{name}_shuffled"] = found[f"{name}_shuffled"].masked_fill(alone, torch.nan)
        for ending, told in (TOLD | FILLING).items():
            if ending in TOLD or f"{name}{ending}" in found:
                values[told].append(found[f"{name}{ending}"].double().numpy()[real])
    return {told: np.concatenate(parts) for told, parts in values.items()}


def compared(name: str, found: Mapping[str, NDArray[np.float64]]) -> dict[str, Interval]:
    """Give the losses with intervals, and what the right caption gains within each clip over the rest."""
    own, another = found[TOLD[""]], found[TOLD["_shuffled"]]
    gains = {"shuffled captions": another - own, "no caption": found[TOLD["_null"]] - own}
    known = (TOLD | FILLING).values()
    gains |= {other: row - own for other, row in found.items() if other not in known}
    rows = {f"{name}/{told}": row for told, row in found.items()}
    rows |= {f"gain/over {other}": row for other, row in gains.items()}
    compares = ~np.isnan(another) | np.isnan(own)
    for title in (f"{name}/{TOLD['_shuffled']}", "gain/over shuffled captions"):
        rows[title] = rows[title][compares]
    return {title: bootstrap(row) for title, row in rows.items() if len(row)}
