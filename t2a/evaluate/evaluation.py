"""What a measurement comes to: figures with intervals, and the conditions under which they hold."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from t2a.metrics.interval import Interval

UNITS = {
    "bit_rate": "kbit/s", "bit_rate_coded": "kbit/s", "container_rate": "kbit/s", "si_snr": "dB", "mel_distance": "dB",
    "seconds_a_clip": "s", "spectrogram_distance": "dB", "phase_distance": "rad",
}  # fmt: skip
"""of the metrics that have one"""
SPEEDS = {"encode": "encodes", "decode": "decodes", "vocode": "vocodes", "griffin_lim": "Griffin-Lim"}
"""what an evaluation measures the speed of, and what it says of it"""


def is_difference(system: str) -> bool:
    """Tell whether a system is none, but how far one is "over" another within each clip."""
    return "over" in system.split()


@dataclass(frozen=True)
class Evaluation:
    """Figures by "<metric>/<system>", and what has to be said beside them (plain values that JSON can hold)."""

    figures: Mapping[str, Interval]
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def by_system(self) -> dict[str, dict[str, Interval]]:
        """Return {system: {metric: interval}}."""
        systems: dict[str, dict[str, Interval]] = {}
        for name, figure in self.figures.items():
            metric, system = name.split("/", 1)
            systems.setdefault(system, {})[metric] = figure
        return systems

    def plain(self) -> dict[str, Any]:
        """Return it as values for JSON, which knows no infinity: the bounds of a single clip's figure are null."""
        figures = {
            name: {key: value if math.isfinite(value) else None for key, value in figure._asdict().items()}
            for name, figure in self.figures.items()
        }
        return {"figures": figures, "conditions": dict(self.conditions)}
