"""What a search tries: a YAML file of override paths and the values each may take."""

import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Discriminator, Field, Tag, model_validator

from t2a.config import Config, merge

GRID_LIMIT = 10_000


class Choice(Config):
    """One of some values; a value may be a mapping, which changes several keys together."""

    choice: list[Any] = Field(min_length=1)


class Uniform(Config):
    """A number between two bounds."""

    uniform: tuple[float, float]

    @model_validator(mode="after")
    def _ascends(self) -> "Uniform":
        return _ascending(self, self.uniform)


class LogUniform(Config):
    """A positive number between two bounds, every factor as likely."""

    loguniform: tuple[float, float]

    @model_validator(mode="after")
    def _ascends(self) -> "LogUniform":
        if self.loguniform[0] <= 0:
            raise ValueError(f"the lower bound of loguniform must be above 0, not {self.loguniform[0]:g}")
        return _ascending(self, self.loguniform)


class Whole(Config):
    """A whole number from the first bound to the last, both included."""

    integer: tuple[int, int]

    @model_validator(mode="after")
    def _ascends(self) -> "Whole":
        return _ascending(self, self.integer)


def _ascending(dimension: Any, bounds: tuple[float, float]) -> Any:
    if not bounds[0] < bounds[1]:
        raise ValueError(f"the lower bound comes first and is below the upper one, not {list(bounds)}")
    return dimension


def _form(value: Any) -> str | None:
    """The key that tells which of the four a mapping is."""
    names = value if isinstance(value, Mapping) else getattr(type(value), "model_fields", ())
    return next((name for name in ("choice", "uniform", "loguniform", "integer") if name in names), None)


Dimension = Annotated[
    Annotated[Choice, Tag("choice")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("loguniform")]
    | Annotated[Whole, Tag("integer")],
    Discriminator(
        _form,
        custom_error_type="form",
        custom_error_message="write choice: [...], or uniform:, loguniform: or integer: with [low, high]",
    ),
]


class SearchConfig(Config):
    """grid tries every combination of choices, random draws, optuna draws where it went well (TPE)."""

    kind: Literal["grid", "random", "optuna"] = "grid"
    seed: int = 0


class NoScheduler(Config):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class AshaScheduler(Config):
    """Stop, at each rung of steps, all but the best 1 / `reduction` of the trials. Figures come with checkpoints."""

    kind: Literal["asha"]
    grace: int = Field(ge=1)
    reduction: int = Field(3, ge=2)


class Space(Config):
    """A search: which metric, how many trials, how they are chosen and stopped, and what is varied.

    `trials` is not given for a grid, which has as many as there are combinations.
    """

    metric: str
    mode: Literal["max", "min"]
    trials: int | None = Field(None, ge=1)
    concurrent: int = Field(1, ge=1)
    search: SearchConfig = SearchConfig()
    scheduler: Annotated[NoScheduler | AshaScheduler, Field(discriminator="kind")] = NoScheduler()
    space: dict[str, Dimension] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> "Space":
        ranges = [path for path, dimension in self.space.items() if not isinstance(dimension, Choice)]
        if self.search.kind == "grid":
            if ranges:
                raise ValueError(f"a grid has choices only, {', '.join(ranges)} is a range: take search.kind random")
            if self.trials is not None:
                raise ValueError(f"a grid has {self.count} trials, one a combination: leave `trials` out")
            if self.count > GRID_LIMIT:
                raise ValueError(f"a grid of {self.count} combinations is too large: take search.kind random")
        elif self.trials is None:
            raise ValueError(f"say how many `trials` a {self.search.kind} search may have")
        for path, other in itertools.permutations(self.space, 2):
            if other.startswith(path + "."):
                raise ValueError(f"{other} lies inside {path}: vary one of them")
        return self

    @property
    def count(self) -> int:
        """How many trials there will be."""
        sizes = [len(d.choice) for d in self.space.values() if isinstance(d, Choice)]
        return self.trials if self.trials is not None else math.prod(sizes)

    def points(self) -> list["Point"]:
        """All trials of a grid or a random search, in order; none of an optuna search, which draws as it goes."""
        if self.search.kind == "grid":
            return [Point(values) for values in self.corners()]
        draw = random.Random(self.search.seed)
        count = self.count if self.search.kind == "random" else 0
        return [Point({path: _draw(d, draw) for path, d in self.space.items()}) for _ in range(count)]

    def corners(self) -> Iterator[dict[str, Any]]:
        """Points that together hold every choice and every bound; all points of a grid.

        A recipe that is valid with each of them is, as far as one key at a time can tell, valid everywhere.
        """
        ends = {path: _ends(dimension) for path, dimension in self.space.items()}
        if self.search.kind == "grid":
            yield from (dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values()))
            return
        first = {path: values[0] for path, values in ends.items()}
        yield first
        for path, values in ends.items():
            yield from (first | {path: value} for value in values[1:])


class Point(NamedTuple):
    """What one trial tries: the value of each override path."""

    values: dict[str, Any]

    def applied_to(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe with these values in it."""
        changed = dict(recipe)
        for path, value in self.values.items():
            for name in reversed(path.split(".")):
                value = {name: value}
            changed = merge(changed, value)
        return changed

    @property
    def text(self) -> str:
        """Short enough for a line of a table."""
        return " ".join(f"{path.rsplit('.', 1)[-1]}={_short(value)}" for path, value in self.values.items())


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value).replace('"', "")


def _draw(dimension: Any, draw: random.Random) -> Any:
    match dimension:
        case Choice():
            return draw.choice(dimension.choice)
        case Uniform():
            return draw.uniform(*dimension.uniform)
        case LogUniform():
            low, high = dimension.loguniform
            return min(max(math.exp(draw.uniform(math.log(low), math.log(high))), low), high)
        case _:
            return draw.randint(*dimension.integer)


def _ends(dimension: Any) -> Sequence[Any]:
    match dimension:
        case Choice():
            return dimension.choice
        case Uniform():
            return dimension.uniform
        case LogUniform():
            return dimension.loguniform
        case _:
            return dimension.integer
