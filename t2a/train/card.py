"""The README.md beside every exported model."""

from collections.abc import Mapping
from typing import Any

from t2a.config import dump
from t2a.train.run import Run


def model_card(run: Run, trainer: Mapping[str, Any], licences: Mapping[str, int] | None = None) -> str:
    """Write a model card: what the model is, how far it was trained, on what, and how good it was then."""
    metrics = {name: value for name, value in trainer["metrics"].items() if name.startswith(("eval/", "loss/"))}
    table = "\n".join(f"| {name} | {value:.5g} |" for name, value in sorted(metrics.items()))
    begun = f"\nTraining began with the weights of `{run.init}`." if run.init else ""
    begun += f" Changes of rank {run.lora.rank} were trained and are merged into them." if run.lora else ""
    seen = trainer["position"]["skips"]["kept"]
    return f"""---
library_name: t2a
tags: [text-to-audio, {run.task.kind}]
---
# {run.name}

A `{run.task.kind}` after step {trainer["step"]} of {run.steps}, batch {run.batch_size}, {seen} rows of
`{run.data.uri}` (split `{run.data.split}`). The weights are the float32 exponential moving average of
the training.{begun}

Load it with `t2a info FOLDER`, or in Python with `from_pretrained(FOLDER)`.

## Metrics
| metric | value |
| --- | --- |
{table}

## Data
The licence of each training clip stands in the column `licence` of the corpus, its origin in `source`.

## Recipe
```yaml
{dump(run)}```
Written by t2a {trainer["versions"]["t2a"]} with torch {trainer["versions"].get("torch", "?")}.
"""
