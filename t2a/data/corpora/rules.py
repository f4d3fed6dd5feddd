"""Which sounds of a package are taken and what they are called: rules as data, explained at the top of each file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from re import Pattern
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import Field, model_validator

from t2a.config import Config, validate

FOLDER = Path(__file__).parent / "rules"
_SLOT = re.compile(r"\{(\w+)((?:\|\w+)*)\}")
_OPTIONAL = re.compile(r"\[([^]]*)\]")
Tables = dict[str, dict[str, str]]


class Rule(Config):
    """Paths that `match` get these captions; written as [match, category, captions, words]."""

    match: Pattern[str]
    category: str
    captions: tuple[str, ...] = Field(min_length=1)
    words: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return (
            dict(zip(("match", "category", "captions", "words"), value, strict=False))
            if isinstance(value, list)
            else value
        )


class Section(Config):
    """The rules for one part of a package."""

    where: Pattern[str] = re.compile("")
    key: Literal["path", "name"] = "path"
    licence: str | None = None
    words: dict[str, tuple[tuple[Pattern[str], str], ...]] = Field(default_factory=dict)
    rules: tuple[Rule, ...]


class Archive(Config):
    """A container within a package."""

    kind: Literal["zip", "rcc", "cat"]
    glob: str


class Transcripts(Config):
    """Where it is written what is said in a package's sounds: a text file of another package."""

    package: str
    glob: str
    line: Pattern[str]
    """a sound's name, and what is said"""


class Package(Config):
    """A Debian package and what to take out of it."""

    name: str
    tier: Literal["core", "full"] = "core"
    licence: str
    archives: tuple[Archive, ...] = ()
    skip: Pattern[str] | None = None
    label: Pattern[str] | None = None
    label_licence: Pattern[str] | None = None
    transcripts: Transcripts | None = None
    sections: tuple[Section, ...]


class Rules(Config):
    """A whole file of rules; `shared` only holds YAML anchors."""

    tables: Tables
    shared: dict[str, Any]
    packages: tuple[Package, ...]


class Described(NamedTuple):
    """What is known of one sound."""

    captions: list[str]
    category: str
    licence: str


def load_rules(name: str) -> Rules:
    """Read `rules/<name>.yaml` of this package."""
    path = FOLDER / f"{name}.yaml"
    return validate(Rules, yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


def describe(
    package: Package, tables: Tables, origin: str, transcripts: Mapping[str, str] | None = None
) -> Described | None:
    """Find the captions of the sound `origin` (a path in the package); None when no rule takes it.

    Of a package with `transcripts` (name -> what is said) only those are taken whose words, {said}, are among them.
    """
    path = f"/{origin}"
    section = next((s for s in package.sections if s.where.search(path)), None)
    if section is None or (package.skip and package.skip.search(path)):
        return None
    key = path if section.key == "path" else PurePosixPath(path).stem.lower()
    for rule in section.rules:
        if found := rule.match.search(key):
            words = {str(i): (group or "").lower() for i, group in enumerate(found.groups())}
            if transcripts is not None:
                if found[1] not in transcripts:
                    return None
                words["said"] = transcripts[found[1]]
            for name, choices in section.words.items():
                words[name] = next((word for expression, word in choices if expression.search(path)), "")
            captions = [fill(caption, words | rule.words, tables) for caption in rule.captions]
            return Described(captions, rule.category, section.licence or package.licence)
    return None


def fill(template: str, words: dict[str, str], tables: Tables) -> str:
    """Put words into a template (its small language is described at the top of the rules)."""

    def word(slot: re.Match[str]) -> str:
        value = words[slot[1]]
        for filtered in slot[2].split("|")[1:]:
            if filtered == "a":
                value = with_article(value)
            elif filtered == "words":
                value = re.sub(r"\d+", "", value).replace("_", " ").strip()
            else:
                value = tables[filtered].get(value, value)
        return value

    def optional(part: re.Match[str]) -> str:
        return part[1] if all(word(slot) for slot in _SLOT.finditer(part[1])) else ""

    text = _SLOT.sub(word, _OPTIONAL.sub(optional, template))
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """`owl` -> `an owl`; what has an article or a number already stays."""
    if re.match(r"(a|an|the|some|two|several|many) ", noun):
        return noun
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
