"""The page of a codec: what it loses at which bit rate, beside Opus, MP3 and mu-law, and how that sounds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from t2a import __version__
from t2a.data.skips import Skips
from t2a.evaluate.clips import sample
from t2a.evaluate.evaluation import UNITS, Evaluation
from t2a.evaluate.systems import compared, family
from t2a.metrics.interval import Interval
from t2a.models.codec import Codec
from t2a.report.figures import Picture, Theme, draw, short
from t2a.report.measured import BETTER, SOUND_SECONDS, SOUNDS, card, conditions, measures
from t2a.report.page import Block, Cards, Figures, Page, Plot, Section, Table

PLOTTED = {
    "mel_distance": "Mel distance, dB (lower is better)",
    "si_snr": "SI-SNR, dB (higher is better)",
    "visqol": "ViSQOL, 1 to 4.73 (higher is better)",
}
CODED = "codec, entropy coded"

Point = tuple[float, Interval]
"""kbit/s and what is reached there"""


def write_codec_page(path: Path, evaluation: Evaluation, model: str, corpus: str, split: str) -> None:
    """Write the page about a codec, whole or not at all; it hears some of the clips again."""
    page = Page(
        title="What the codec keeps",
        lead=f"t2a {__version__}: {model} on {corpus} ({split}). Every figure was measured in this run.",
        highlights=_highlights(evaluation),
        sections=[
            rate_distortion(evaluation),
            tables(evaluation),
            sounds(model, corpus, split, evaluation.conditions["seed"]),
        ],
    )
    page.write(path)


def rate_distortion(evaluation: Evaluation) -> Section:
    """Curves over the bit rate, one line a family of systems."""
    plots = [
        Plot(title, rate_curves(points, y=title.split(" (")[0]))
        for metric, title in PLOTTED.items()
        if (points := families(evaluation, metric))
    ]
    intro = (
        "Means over held-out clips with 95 % intervals; the rate is that of the bits that describe the sound. Files of "
        "Opus and MP3 are larger by their containers."
    )
    return Section("Rate and distortion", [Cards(plots)], intro)


def tables(evaluation: Evaluation) -> Section:
    """All figures: systems at the codec's own rates, which can be told apart by better and worse, and the others."""
    systems = measures(evaluation)
    own = {name: row for name, row in systems.items() if at_own_rate(name)}
    rest = {name: row for name, row in systems.items() if name not in own}
    books = evaluation.conditions["codebooks"]
    use = [[str(number), book["usage"], book["perplexity"]] for number, book in enumerate(books, 1)]
    blocks: list[Block] = [
        Figures(own, UNITS, BETTER, "The codec's own rates"),
        Figures(rest, UNITS, caption="Other coders"),
        Table(["codebook", "share in use", "perplexity"], use, f"Codes of {books[0]['frames']:,} held-out frames"),
        *conditions(evaluation),
    ]
    return Section("Figures", blocks)


def at_own_rate(system: str) -> bool:
    """Tell whether a system runs at one of the codec's bit rates, where better and worse have a meaning."""
    return family(system) == "codec" or system in ("untrained", "mu-law")


def sounds(model: str, corpus: str, split: str, seed: int) -> Section:
    """A few clips through the codec at its lowest and full rate and through the nearest other coders."""
    codec = Codec.from_pretrained(model)
    systems = compared(codec)
    first = {family(name): name for name in reversed(systems)}  # of each family the one that comes first
    chosen = [first["codec"], "codec", "mu-law", first["Opus"], first["MP3"]]
    shape = {"rate": codec.sample_rate, "channels": codec.channels, "longest": SOUND_SECONDS}
    clips = sample(corpus, split, SOUNDS, seed, skips=Skips(), **shape)
    groups = []
    for clip in clips:
        made = {name: systems[name](clip.wave) for name in dict.fromkeys(chosen)}
        cards = [card("original", clip.wave, codec.sample_rate, "held out")]
        for name, coded in made.items():
            rate = coded.bits / (clip.wave.shape[1] / codec.sample_rate) / 1000
            cards.append(card(name, coded.wave, codec.sample_rate, f"{rate:.2f} kbit/s"))
        groups.append(Cards(cards, title=clip.captions[0] if clip.captions else clip.id))
    return Section("Sounds", groups, "Clips drawn with a seed, none chosen by ear.")


def families(evaluation: Evaluation, metric: str) -> dict[str, list[Point]]:
    """Return the points of each family of systems that has the metric, by rising rate."""
    found: dict[str, list[Point]] = {}
    for name, row in evaluation.by_system().items():
        if metric in row:
            found.setdefault(family(name), []).append((row["bit_rate"].mean, row[metric]))
            if "bit_rate_coded" in row:
                found.setdefault(CODED, []).append((row["bit_rate_coded"].mean, row[metric]))
    return {name: sorted(points) for name, points in found.items()}


def rate_curves(series: Mapping[str, Sequence[Point]], *, y: str, width: int = 400, height: int = 280) -> Picture:
    """Draw lines with interval bars over a logarithmic bit rate; an interval without an end is drawn without a bar."""

    def paint(axes: Axes, theme: Theme) -> None:
        for number, (name, points) in enumerate(series.items()):
            colour = theme.series[number % len(theme.series)]
            rates = [rate for rate, _ in points]
            sure = [f if f.count > 1 else f._replace(low=f.mean, high=f.mean) for _, f in points]
            bars = [[f.mean - f.low for f in sure], [f.high - f.mean for f in sure]]
            axes.errorbar(
                rates, [f.mean for f in sure], bars, color=colour, label=name, marker="o", markersize=4,
                linewidth=1.8, elinewidth=0.9, ecolor=to_rgba(colour, 0.5), linestyle="--" if name == CODED else "-",
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("kbit/s")
        axes.set_ylabel(y)
        axes.legend(frameon=False, fontsize=8, labelcolor=theme.ink)

    return draw(paint, width, height)


def _highlights(evaluation: Evaluation) -> dict[str, str]:
    codec = evaluation.by_system()["codec"]
    speed = evaluation.conditions["speed"]
    used = [book["usage"] for book in evaluation.conditions["codebooks"]]
    found = {
        "bit rate": f"{codec['bit_rate'].mean:.2f} kbit/s",
        "SI-SNR": f"{codec['si_snr'].mean:.1f} dB",
        "mel distance": f"{codec['mel_distance'].mean:.1f} dB",
        "codes in use": f"{sum(used) / len(used):.0%}",
        "encode / decode, x real time": f"{speed['encode']:.3g} / {speed['decode']:.3g}",
    }
    return found | ({"ViSQOL": f"{codec['visqol'].mean:.2f}"} if "visqol" in codec else {})
