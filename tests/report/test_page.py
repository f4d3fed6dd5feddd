import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from t2a.report import figures
from t2a.report.page import AudioCard, Cards, Facts, Figures, Measure, Note, Page, Plot, Recipe, Section, Table

EVIL = "</pre><script>alert('x')</script>\" onload=\"y & z"
VOID = {"meta", "link", "img", "source", "input", "br"}


class Tree(HTMLParser):
    """Checks that tags close in order; collects tags, texts and every address the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def parsed(text: str) -> Tree:
    tree = Tree()
    tree.feed(text)
    tree.close()
    assert not tree.open
    return tree


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)).astype(np.float32)[None]


@pytest.fixture(scope="module")
def everything(wave) -> Page:
    picture = figures.bars({EVIL: 1.0})
    blocks = [
        Figures({EVIL: {EVIL: Measure(1.0, 0.5, 1.5, 8)}}, {EVIL: EVIL}, {EVIL: "lower"}, EVIL),
        Table([EVIL, "n"], [[EVIL, 3]], EVIL),
        Facts({EVIL: EVIL}),
        Note(EVIL, warning=True),
        Recipe(EVIL, EVIL),
        Cards([Plot(EVIL, picture, EVIL), AudioCard(EVIL, wave, 16000, picture, EVIL)], EVIL),
    ]
    return Page(EVIL, EVIL, [Section(EVIL, blocks, EVIL)], {EVIL: EVIL})


def test_text_from_outside_never_becomes_markup(everything):
    tree = parsed(everything.html())
    assert "script" not in tree.tags
    assert "onload" not in tree.attributes
    assert tree.texts.count(EVIL) >= 20


def test_the_page_refers_to_nothing_outside_itself(everything):
    text = everything.html()
    assert all(a.startswith(("data:", "#")) for a in parsed(text).addresses)
    assert "url(" not in text
    assert "@import" not in text


def test_contents_lead_to_the_sections():
    page = Page("t", "l", [Section("Curves", [Note("a")]), Section("Curves", [Note("b")])])
    anchors = re.findall(r'<a href="#([^"]+)">', page.html())
    assert anchors == re.findall(r'<section id="([^"]+)">', page.html())
    assert len(set(anchors)) == 2


@pytest.mark.parametrize(("encoding", "type_"), [("flac", "audio/flac"), ("wav", "audio/wav"), ("ogg", "audio/ogg")])
def test_a_player_holds_the_sound_itself(wave, encoding, type_):
    text = AudioCard("a", wave, 16000, encoding=encoding).html()
    kind, data = re.search(r'<audio [^>]*src="data:([^;]+);base64,([^"]+)"', text).groups()
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert (kind, rate, heard.shape) == (type_, 16000, (8000,))
    if encoding != "ogg":
        np.testing.assert_allclose(heard, wave[0], atol=1e-4)


def test_both_themes_are_in_the_page():
    tree = parsed(Plot("p", figures.bars({"a": 1.0})).html())
    light, dark = tree.addresses[1], tree.addresses[0]
    assert light != dark
    assert all(address.startswith("data:image/png;base64,") for address in (light, dark))


@pytest.mark.parametrize(("better", "best"), [("higher", "2"), ("lower", "1")])
def test_the_best_system_of_a_metric_is_marked(better, best):
    text = Figures({"a": {"m": 1}, "b": {"m": 2.0}, "c": {"m": float("nan")}}, better={"m": better}).html()
    assert re.findall(r'class="number best">([^<]+)<', text) == [best]


def test_nothing_is_best_without_a_rival_or_a_direction():
    assert "best" not in Figures({"a": {"m": 1.0}}, better={"m": "higher"}).html()
    assert "best" not in Figures({"a": {"m": 1.0}, "b": {"m": 2.0}}).html()


def test_intervals_counts_and_gaps_are_shown():
    text = Figures({"a": {"m": (1.5, 1.0, 2.0, 80)}, "b": {"n": 3.0}}, {"m": "dB"}).html()
    assert "1 … 2, n = 80" in text
    assert '<span class="unit">dB</span>' in text
    assert text.count(">–</td>") == 2


def test_numbers_stand_to_the_right_and_words_to_the_left():
    text = Table(["split", "clips"], [["train", 1400], ["valid", 87]]).html()
    assert '<th scope="col">split</th><th scope="col" class="number">clips</th>' in text
    assert '<td>train</td><td class="number">1,400</td>' in text


def test_a_table_without_rows_keeps_its_head():
    assert Table(["a", "b"], []).html().count('<th scope="col">') == 2
