"""Pictures for the page: mel spectrograms, curves and bars, each drawn for a light and a dark theme."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from t2a.audio.spectral import MelSpec, MelSpectrogram

PIXELS_PER_UNIT = 2  # device pixels for one CSS pixel: sharp on a phone and on a dense screen
DPI = 100
FLOOR_DB = -90.0
COLOURS = colormaps["magma"].resampled(160)  # with the greys of the letters they fit a palette of 256

Points = Sequence[tuple[float, float]]


class Theme(NamedTuple):
    paper: str
    ink: str
    faint: str
    grid: str
    series: tuple[str, ...]


LIGHT = Theme(
    "#ffffff", "#1b2027", "#5b6572", "#e3e7ec", ("#2f5bd0", "#d9622b", "#0f8a75", "#a03fb5", "#b0830a", "#b3304a")
)
DARK = Theme(
    "#171b21", "#e7ebf0", "#9aa5b3", "#2b323b", ("#86a8ff", "#ff9b66", "#4fd0b5", "#d88cec", "#e5bd4e", "#ff8096")
)


class Picture(NamedTuple):
    """The same drawing as two PNG files, and its size in CSS pixels."""

    light: bytes
    dark: bytes
    width: int
    height: int


def draw(paint: Callable[[Axes, Theme], None], width: int, height: int) -> Picture:
    """Call `paint` on a fresh axes for each theme."""
    return Picture(*(_render(paint, theme, width, height) for theme in (LIGHT, DARK)), width, height)


def mel(wave: np.ndarray, rate: int, *, bands: int = 80, width: int = 340, height: int = 170) -> Picture:
    """Draw a mel spectrogram of `wave` [C, T] or [T] in dB, where a full-scale sine reaches about 0 dB.

    The scale is absolute, so that a clip and its reconstruction can be compared and silence looks silent.
    """
    mono = np.atleast_2d(wave).mean(0)
    level, centres = mel_decibels(mono, rate, bands)
    seconds = len(mono) / rate

    def paint(axes: Axes, theme: Theme) -> None:
        extent = (0.0, max(seconds, 1e-3), -0.5, bands - 0.5)
        image = axes.imshow(
            level, origin="lower", aspect="auto", extent=extent, cmap=COLOURS, vmin=FLOOR_DB, vmax=0, rasterized=True
        )
        ticks = [hz for hz in (125, 500, 1000, 2000, 4000, 8000, 16000) if hz <= rate / 2]
        axes.set_yticks(
            np.interp(ticks, centres, np.arange(bands)), [f"{hz / 1000:g}k" if hz >= 1000 else str(hz) for hz in ticks]
        )
        axes.set_ylabel("Hz")
        axes.set_xlabel("seconds")
        axes.grid(visible=False)
        bar = axes.figure.colorbar(image, ax=axes, pad=0.02, fraction=0.05, ticks=[FLOOR_DB, FLOOR_DB / 2, 0])
        bar.set_label("dB", color=theme.faint, fontsize=8)
        bar.ax.tick_params(colors=theme.faint, labelsize=8, length=2)
        bar.outline.set_visible(False)

    return draw(paint, width, height)


def curves(
    series: Mapping[str, Points],
    *,
    x: str = "step",
    y: str = "",
    log: bool = False,
    smooth: float = 0.05,
    baselines: Mapping[str, float] | None = None,
    width: int = 360,
    height: int = 230,
) -> Picture:
    """Draw lines through (x, y) points: the raw values faint, their running mean strong.

    smooth: length of the running mean as a share of the curve; 0 draws the raw values only.
    baselines: name -> value of horizontal dashed lines. Values that are not finite leave a gap, on a log axis those
    that are not positive as well.
    """

    def paint(axes: Axes, theme: Theme) -> None:
        for number, (name, points) in enumerate(series.items()):
            colour = theme.series[number % len(theme.series)]
            steps, values = _columns(points, positive=log)
            mean = running_mean(values, round(len(values) * smooth))
            if mean is not values:
                axes.plot(steps, values, color=colour, alpha=0.28, linewidth=0.9)
            marker = "o" if len(values) < 15 else None
            axes.plot(steps, mean, color=colour, linewidth=1.8, label=name, marker=marker, markersize=3)
        for number, (name, value) in enumerate((baselines or {}).items(), start=len(series)):
            axes.axhline(
                value, color=theme.series[number % len(theme.series)], linewidth=1.2, linestyle="--", label=name
            )
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        if len(series) + len(baselines or {}) > 1:
            axes.legend(frameon=False, fontsize=8, labelcolor=theme.ink)

    return draw(paint, width, height)


def bars(values: Mapping[str, float], *, unit: str = "", width: int = 480) -> Picture:
    """Draw one horizontal bar a name, the first on top, with its value written beside it."""
    names = list(values)

    def paint(axes: Axes, theme: Theme) -> None:
        drawn = axes.barh(names, [values[name] for name in names], color=theme.series[0], height=0.66)
        labels = [f"{short(values[name])} {unit}".strip() for name in names]
        axes.bar_label(drawn, labels, padding=4, color=theme.ink, fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.xaxis.set_visible(False)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelcolor=theme.ink)

    return draw(paint, width, 40 + 22 * max(len(names), 1))


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Average over a centred window that shrinks at both ends; gaps (NaN) stay gaps and count for nothing."""
    if window < 2:
        return values
    finite = np.isfinite(values)
    ones = np.ones(window + 1 - window % 2)  # an odd length has a centre
    total = np.convolve(np.where(finite, values, 0.0), ones, "full")
    count = np.convolve(finite.astype(float), ones, "full")
    middle = slice(len(ones) // 2, len(ones) // 2 + len(values))
    return np.where(finite, total[middle] / np.maximum(count[middle], 1), np.nan)


def short(value: float) -> str:
    """Write a number in at most four significant digits: 1574 -> 1574, 12000 -> 12k, 0.034567 -> 0.03457."""
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.4g}k"
    return f"{value:.4g}"


def mel_decibels(mono: np.ndarray, rate: int, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Return levels [M, F] of `mono` [T] in dB of a full-scale sine, and the centres [M] of the bands in Hz."""
    size = 1024 if rate <= 24000 else 2048
    spec = MelSpec(rate=rate, n_fft=size, hop=size // 4, n_mels=bands, norm=None, scale="htk", power=2, log="none")
    energy = MelSpectrogram(spec)(torch.from_numpy(np.ascontiguousarray(mono, np.float32))).numpy()
    full_scale = (np.hanning(size + 1).sum() / 2) ** 2  # energy of a sine of amplitude 1 in its bin
    level = 10 * np.log10(np.maximum(energy / full_scale, 10 ** (FLOOR_DB / 10)))
    highest = math.log1p(rate / 2 / 700)
    return level, 700 * np.expm1(np.linspace(0, highest, bands + 2)[1:-1])


def _columns(points: Points, positive: bool) -> tuple[np.ndarray, np.ndarray]:
    steps, values = np.asarray(points, float).reshape(-1, 2).T
    usable = np.isfinite(values) & ((values > 0) | (not positive))
    return steps, np.where(usable, values, np.nan)


def _render(paint: Callable[[Axes, Theme], None], theme: Theme, width: int, height: int) -> bytes:
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI * PIXELS_PER_UNIT, layout="constrained")
    figure.patch.set_facecolor(theme.paper)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor(theme.paper)
    axes.grid(color=theme.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(theme.grid)
    axes.tick_params(which="both", colors=theme.faint, labelsize=8, length=2)
    axes.xaxis.label.set(color=theme.faint, fontsize=8)
    axes.yaxis.label.set(color=theme.faint, fontsize=8)
    paint(axes, theme)
    canvas.draw()
    # A palette makes the file a third of the true-colour one.
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
