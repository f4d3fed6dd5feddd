"""The page about a codec: every family of coders a curve, every figure in a table, sounds to listen to."""

import io

from PIL import Image

from t2a.evaluate.codec import evaluate_codec
from t2a.evaluate.evaluation import Evaluation
from t2a.metrics.interval import Interval
from t2a.report import codec as codec_page
from t2a.report.codec import CODED, families, rate_curves, write_codec_page
from tests.report.test_page import parsed
from tests.train.small import audio_corpus, untrained_codec


def figures() -> Evaluation:
    """Two rates of a codec, one of them entropy coded, and one of Opus."""

    def at(value: float) -> Interval:
        return Interval(value, value - 1, value + 1, 4)

    return Evaluation(
        {
            "bit_rate/codec": at(2.0), "si_snr/codec": at(9.0), "bit_rate_coded/codec": at(1.5),
            "bit_rate/codec, 1 of 2 codebooks": at(1.0), "si_snr/codec, 1 of 2 codebooks": at(5.0),
            "bit_rate/Opus, 6 kbit/s": at(6.0), "si_snr/Opus, 6 kbit/s": at(12.0),
        }
    )  # fmt: skip


def test_points_are_gathered_by_family_and_ordered_by_rate():
    found = families(figures(), "si_snr")
    assert {name: [(rate, f.mean) for rate, f in points] for name, points in found.items()} == {
        "codec": [(1.0, 5.0), (2.0, 9.0)],
        CODED: [(1.5, 9.0)],
        "Opus": [(6.0, 12.0)],
    }
    assert families(figures(), "visqol") == {}


def test_curves_are_drawn_with_and_without_intervals():
    sure = families(figures(), "si_snr")
    single = {name: [(rate, f._replace(low=-float("inf"), count=1)) for rate, f in p] for name, p in sure.items()}
    drawings = [rate_curves(series, y="dB").light for series in (sure, single)]
    assert drawings[0] != drawings[1]
    assert all(Image.open(io.BytesIO(data)).size == (800, 560) for data in drawings)


def test_the_page_holds_curves_figures_and_players(tmp_path, monkeypatch):
    monkeypatch.setattr(codec_page, "SOUNDS", 2)
    codec, corpus = untrained_codec(tmp_path / "codec"), audio_corpus(str(tmp_path / "corpus"))
    evaluation = evaluate_codec(tmp_path / "codec", corpus, "valid", 3, listened=0)
    write_codec_page(tmp_path / "page.html", evaluation, codec, corpus, "valid")
    tree = parsed((tmp_path / "page.html").read_text())
    assert tree.tags.count("audio") == 2 * 6  # original, codec at its lowest and full rate, mu-law, Opus, MP3
    assert {"Opus, 6 kbit/s", "MP3, 32 kbit/s", "codec, 1 of 2 codebooks"} <= set(tree.texts)
    assert sum(text.startswith("a tone of") for text in tree.texts) == 2
    assert not [text for text in tree.texts if "ViSQOL," in text]  # nobody listened: no empty curve
    assert not list(tmp_path.glob(".*"))
