"""The building blocks of a report page, and the page: one HTML file that needs no network and no script."""

import base64
import html
import io
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import soundfile

from t2a.audio.io import encode_flac, encode_wav
from t2a.report.figures import Picture, short

TYPES = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg"}


class Block(Protocol):
    """Anything that can stand in a section."""

    def html(self) -> str: ...


class Measure(NamedTuple):
    """A mean over clips with its interval; a plain value has neither `low` nor `high`."""

    mean: float
    low: float | None = None
    high: float | None = None
    count: int | None = None


@dataclass(frozen=True)
class Figures:
    """Compare systems: one row a metric, one column a system, the best of a row marked.

    values: system -> metric -> Measure or plain number. units: metric -> unit.
    better: metric -> "higher" or "lower"; a metric without an entry has no best.
    """

    values: Mapping[str, Mapping[str, "Measure | float"]]
    units: Mapping[str, str] = field(default_factory=dict)
    better: Mapping[str, Literal["higher", "lower"]] = field(default_factory=dict)
    caption: str = ""

    def html(self) -> str:
        metrics = list(dict.fromkeys(metric for row in self.values.values() for metric in row))
        head = "".join(f'<th scope="col">{escape(system)}</th>' for system in self.values)
        rows = "".join(self._row(metric) for metric in metrics)
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return f'<div class="scroll"><table class="figures">{caption}<tr><th></th>{head}</tr>{rows}</table></div>'

    def _row(self, metric: str) -> str:
        unit = f' <span class="unit">{escape(self.units[metric])}</span>' if metric in self.units else ""
        arrow = {"higher": " ↑", "lower": " ↓"}.get(self.better.get(metric, ""), "")
        measures = {s: _measure(row[metric]) for s, row in self.values.items() if metric in row}
        best = self._best(metric, measures)
        cells = "".join(_cell(measures.get(system), system == best) for system in self.values)
        return f'<tr><th scope="row">{escape(metric)}{unit}{arrow}</th>{cells}</tr>'

    def _best(self, metric: str, measures: Mapping[str, Measure]) -> str | None:
        finite = {system: m.mean for system, m in measures.items() if np.isfinite(m.mean)}
        if metric not in self.better or len(finite) < 2:
            return None
        pick = max if self.better[metric] == "higher" else min
        return pick(finite, key=lambda system: finite[system])


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; numbers are set to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int]]
    caption: str = ""

    def html(self) -> str:
        columns = list(zip(*self.rows, strict=True)) or [("",)] * len(self.columns)
        kinds = ["" if any(isinstance(value, str) for value in column) else ' class="number"' for column in columns]
        heads = zip(kinds, self.columns, strict=True)
        head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in heads)
        body = "".join(f"<tr>{''.join(_plain_cell(value) for value in row)}</tr>" for row in self.rows)
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return f'<div class="scroll"><table>{caption}<tr>{head}</tr>{body}</table></div>'


@dataclass(frozen=True)
class Facts:
    """Names with their values: settings, totals, versions."""

    values: Mapping[str, object]

    def html(self) -> str:
        items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(_text(v))}</dd></div>" for k, v in self.values.items())
        return f'<dl class="facts">{items}</dl>'


@dataclass(frozen=True)
class Note:
    """A paragraph; a warning stands out."""

    text: str
    warning: bool = False

    def html(self) -> str:
        return f'<p class="{"warning" if self.warning else "note"}">{escape(self.text)}</p>'


@dataclass(frozen=True)
class Recipe:
    """Long text such as a recipe, folded away under its title."""

    title: str
    text: str

    def html(self) -> str:
        return f"<details><summary>{escape(self.title)}</summary><pre>{escape(self.text)}</pre></details>"


@dataclass(frozen=True)
class Plot:
    """A picture with its title above and a caption below."""

    title: str
    picture: Picture
    caption: str = ""

    def html(self) -> str:
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure class="card"><h3>{escape(self.title)}</h3>{_image(self.picture, self.title)}{caption}</figure>'


@dataclass(frozen=True)
class AudioCard:
    """A player, a picture of what it plays, and words.

    wave: [C, T] or [T] float in [-1, 1]. encoding: "flac" and "wav" are exact to 16 bits, "ogg" (Opus) is the smallest.
    """

    title: str
    wave: np.ndarray
    rate: int
    picture: Picture | None = None
    caption: str = ""
    encoding: Literal["wav", "flac", "ogg"] = "flac"

    def html(self) -> str:
        source = data_uri(encode(self.wave, self.rate, self.encoding), TYPES[self.encoding])
        image = _image(self.picture, f"mel spectrogram: {self.title}") if self.picture else ""
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        player = f'<audio controls preload="metadata" src="{source}" aria-label="{escape(self.title)}"></audio>'
        return f'<figure class="card"><h3>{escape(self.title)}</h3>{image}{player}{caption}</figure>'


@dataclass(frozen=True)
class Cards:
    """Plots or audio side by side, as many in a row as the screen has room for."""

    cards: Sequence[Block]
    title: str = ""

    def html(self) -> str:
        title = f"<h3>{escape(self.title)}</h3>" if self.title else ""
        return f'{title}<div class="cards">{"".join(card.html() for card in self.cards)}</div>'


@dataclass(frozen=True)
class Section:
    """A titled part of the page."""

    title: str
    blocks: Sequence[Block]
    intro: str = ""

    def html(self) -> str:
        intro = f'<p class="intro">{escape(self.intro)}</p>' if self.intro else ""
        return f"<h2>{escape(self.title)}</h2>{intro}{''.join(block.html() for block in self.blocks)}"


@dataclass(frozen=True)
class Page:
    """The whole file. `highlights` are the few figures that stand at the top: name -> text."""

    title: str
    lead: str
    sections: Sequence[Section]
    highlights: Mapping[str, str] = field(default_factory=dict)

    def html(self) -> str:
        anchors = [f"{number}-{_slug(s.title)}" for number, s in enumerate(self.sections, start=1)]
        links = zip(anchors, self.sections, strict=True)
        room = resources.files("t2a.report")
        return string.Template((room / "page.html").read_text("utf-8")).substitute(
            title=escape(self.title),
            lead=escape(self.lead),
            style=(room / "page.css").read_text("utf-8"),
            highlights="".join(
                f"<div><strong>{escape(value)}</strong><span>{escape(name)}</span></div>"
                for name, value in self.highlights.items()
            ),
            contents="".join(f'<a href="#{anchor}">{escape(section.title)}</a>' for anchor, section in links),
            sections="".join(
                f'<section id="{anchor}">{section.html()}</section>'
                for anchor, section in zip(anchors, self.sections, strict=True)
            ),
        )

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(self.html(), encoding="utf-8")
        temporary.replace(path)


def escape(text: str) -> str:
    """Make text harmless in an element and in a quoted attribute."""
    return html.escape(text, quote=True)


def data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def encode(wave: np.ndarray, rate: int, encoding: str) -> bytes:
    """Return `wave` [C, T] or [T] as the bytes of an audio file."""
    if encoding in ("flac", "wav"):
        return {"flac": encode_flac, "wav": encode_wav}[encoding](wave, rate)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.atleast_2d(wave).T, rate, format="OGG", subtype="OPUS")
    return buffer.getvalue()


def _image(picture: Picture, alt: str) -> str:
    size = f'width="{picture.width}" height="{picture.height}"'
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{data_uri(picture.dark, "image/png")}">'
        f'<img src="{data_uri(picture.light, "image/png")}" alt="{escape(alt)}" {size}></picture>'
    )


def _measure(value: "Measure | float") -> Measure:
    # Any (mean, low, high, count) tuple will do, so that a figure of another package can be shown as it is.
    return Measure(*value) if isinstance(value, tuple) else Measure(float(value))


def _cell(measure: Measure | None, best: bool) -> str:
    if measure is None:
        return '<td class="number">–</td>'
    about = ""
    if measure.low is not None and measure.high is not None:
        count = f", n = {measure.count}" if measure.count else ""
        about = f'<span class="interval">{short(measure.low)} … {short(measure.high)}{count}</span>'
    return f'<td class="number{" best" if best else ""}">{short(measure.mean)}{about}</td>'


def _plain_cell(value: str | float | int) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f'<td class="number">{_text(value)}</td>'


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else short(value)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
