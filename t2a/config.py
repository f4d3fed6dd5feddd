"""Typed configuration: recipes in YAML with `base:` chains and overrides, every error told at once."""

import difflib
import re
import types
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from t2a.errors import ConfigError


class Config(BaseModel):
    """What one class needs to be built: unknown keys are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


C = TypeVar("C", bound=Config)


def load(model: type[C], recipe: str | Path, overrides: Sequence[str] = ()) -> C:
    """Read a recipe, lay it over its `base:` recipes, apply `key.sub=value` overrides and validate the result.

    A mapping whose `kind` changes replaces the whole mapping below it. The order of overrides matters only
    between two that name the same key. Raises `ConfigError` with every error found.
    """
    problems: list[str] = []
    mapping = read(recipe)
    changes: dict[str, Any] = {}
    for override in overrides:
        try:
            changes = merge(changes, _parse_override(override))
        except ConfigError as error:
            problems.append(str(error))
    try:
        mapping = merge(mapping, changes)
    except ConfigError as error:
        problems.append(str(error))
    return _build(model, mapping, str(recipe), problems)


def validate(model: type[C], mapping: Mapping[str, Any], where: str) -> C:
    """Build `model` from plain values; `where` names their origin in the `ConfigError`."""
    return _build(model, mapping, where, [])


def dump(config: Config) -> str:
    """Write YAML text that loads to an equal config."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def read(recipe: str | Path, _above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a recipe as plain values, its `base:` (one file or a list, relative to the recipe) merged below it."""
    path = Path(recipe).resolve()
    if path in _above:
        chain = " -> ".join(p.name for p in (*_above[_above.index(path) :], path))
        raise ConfigError(f"{path}: its `base:` chain comes back to itself ({chain}); remove one of them.")
    try:
        mapping = parse(path.read_text(encoding="utf-8"), str(recipe))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        asked = f" (the base of {_above[-1]})" if _above else ""
        raise ConfigError(f"Cannot read the recipe {recipe}{asked}: {reason}.") from error
    if mapping is None:
        mapping = {}
    if not isinstance(mapping, dict):
        raise ConfigError(f"{recipe}: a recipe is a mapping of keys to values, this is a {type(mapping).__name__}.")
    bases = mapping.pop("base", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, list) and all(isinstance(base, str) for base in bases)):
        raise ConfigError(f"{recipe}: `base:` is a file name or a list of file names, not {bases!r}.")
    below: dict[str, Any] = {}
    for base in bases:
        below = merge(below, read(path.parent / base, (*_above, path)))
    return merge(below, mapping)


def parse(text: str, where: str) -> Any:
    """Parse YAML text; `3e-4` is a number, a key given twice is an error."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{where}{place}: not valid YAML: {what}.") from error


def merge(below: Any, above: Any, path: str = "") -> Any:
    """Lay `above` over `below`: mappings key by key unless their `kind` differs, anything else replaces.

    A mapping of digits laid over a list (an override such as `layers.0.width=8`) replaces those items.
    """
    if isinstance(below, list) and isinstance(above, dict) and above and all(str(key).isdigit() for key in above):
        items = list(below)
        for key, value in above.items():
            if int(key) >= len(items):
                raise ConfigError(f"{path}.{key}: there are only {len(items)} items, counted from 0")
            items[int(key)] = merge(items[int(key)], value, f"{path}.{key}")
        return items
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    if "kind" in below and "kind" in above and below["kind"] != above["kind"]:
        return above
    merged = dict(below)
    for key, value in above.items():
        merged[key] = merge(below[key], value, f"{path}.{key}".lstrip(".")) if key in below else value
    return merged


def _parse_override(override: str) -> dict[str, Any]:
    """`a.b=1` -> {"a": {"b": 1}}."""
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"{override!r}: an override has the form key=value or key.sub=value")
    value = parse(text, f"override {override!r}")
    for name in reversed(names):
        value = {name: value}
    return value


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its surprises: see `parse`."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if key_node.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key_node.value!r} is given twice", problem_mark=key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes every string that `_Loader` would read as a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _yaml in (_Loader, _Dumper):  # YAML 1.1 wants 3.0e-4 for a float; everybody writes 3e-4
    _yaml.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )


def _build(model: type[C], mapping: Mapping[str, Any], where: str, problems: list[str]) -> C:
    config = None
    try:
        config = model.model_validate(mapping)
    except ValidationError as error:
        told: dict[str, list[str]] = {}  # a plain union reports one error per member under one path
        for detail in error.errors(include_url=False):
            path, what = _explain(model, detail)
            told.setdefault(path, []).append(what)
        problems = problems + [f"{path}: {' or '.join(dict.fromkeys(found))}" for path, found in told.items()]
    if problems or config is None:
        count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
        raise ConfigError(f"{where}: {count}\n" + "\n".join(f"  {problem}" for problem in problems))
    return config


def _explain(model: type[Config], detail: Mapping[str, Any]) -> tuple[str, str]:
    """Turn one pydantic error into (path as the user writes it, sentence with a suggestion)."""
    path, place = _locate(model, detail["loc"])
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return ".".join(path), "unknown key" + _suggest(str(path[-1]), [n for c in _members(place) for n in _fields(c)])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        kinds = list(_kinds(place))
        if kind == "union_tag_invalid":
            tag = detail["ctx"]["tag"]
            return ".".join((*path, "kind")), f"unknown kind {tag!r}" + _suggest(tag, kinds)
        return ".".join((*path, "kind")), f"missing (one of: {', '.join(kinds)})"
    if kind == "missing":
        return ".".join(path), "missing"
    what = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    if isinstance(value, str | int | float | bool | None) and kind not in ("value_error", "assertion_error"):
        what += f", not {value!r}"
    if kind == "literal_error":
        what += _suggest(str(value), [str(choice) for choice in _choices(place)], otherwise=False)
    return ".".join(path) or "recipe", what


def _locate(annotation: Any, loc: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """Follow pydantic's location through the types: the path without union tags, and the type at its end.

    For an unknown key the type is the one that refused it.
    """
    path: list[str] = []
    for step in loc:
        members = _members(annotation)
        kinds = _kinds(annotation)
        if len(members) > 1 and step in kinds:
            annotation = kinds[step]  # pydantic puts the chosen kind into the location; the user never wrote it there
            continue
        if len(members) > 1 and not any(_enter(member, step) for member in members):
            continue  # likewise the name of a plain union's member
        path.append(str(step))
        annotation = next((inner[0] for member in members if (inner := _enter(member, step))), annotation)
    return path, annotation


def _enter(annotation: Any, step: int | str) -> tuple[Any] | None:
    """The type found under a key or an index of a type, as a 1-tuple; None when there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(step))
        return (field.annotation,) if field else None
    origin, arguments = get_origin(annotation), [a for a in get_args(annotation) if a is not Ellipsis]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return (arguments[1],)
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset) and isinstance(step, int):
        return (arguments[min(step, len(arguments) - 1)],)
    return None


def _members(annotation: Any) -> list[Any]:
    """The types a value may have, None left out."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [inner for a in get_args(annotation) if a is not types.NoneType for inner in _members(a)]
    return [annotation]


def _kinds(annotation: Any) -> dict[Any, Any]:
    """kind -> class, for a union discriminated on `kind`."""
    classes = [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
    return {
        kind: c for c in classes if "kind" in c.model_fields for kind in _choices(c.model_fields["kind"].annotation)
    }


def _choices(annotation: Any) -> Iterator[Any]:
    for member in _members(annotation):
        if get_origin(member) is Literal:
            yield from get_args(member)


def _fields(annotation: Any) -> list[str]:
    return list(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _suggest(word: str, valid: Sequence[str], otherwise: bool = True) -> str:
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (one of: {', '.join(valid)})" if otherwise and valid else ""
