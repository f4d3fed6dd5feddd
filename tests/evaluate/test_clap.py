"""A CLAP's retrieval figures, its zero-shot accuracy, how it judges a sound, and the page about it."""

import json
import shutil
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from t2a.audio.io import encode_flac
from t2a.data.shards import ShardBounds, read_rows, write_shards
from t2a.errors import CheckpointError, DataError
from t2a.evaluate import evaluate
from t2a.evaluate.clap import described, retrieval, zero_shot
from t2a.generate.judge import Judge
from t2a.models.clap import Clap
from t2a.report.pages import check_page, write_page
from tests.train.small import RATE, audio_corpus


def rewritten(tmp_path, **changes: Sequence) -> str:
    """The corpus of tones with other columns, value by value."""
    rows = list(read_rows(audio_corpus(str(tmp_path / "corpus")), "valid"))
    for name, values in changes.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    write_shards(rows, str(tmp_path / "other"), bounds=ShardBounds(group_rows=5))
    return str(tmp_path / "other")


def test_retrieval_is_measured_both_ways_beside_chance(clap, tmp_path):
    corpus = audio_corpus(str(tmp_path / "corpus"))
    found = evaluate(clap, corpus, split="valid", rows=8)
    assert found.figures["r@1/sound to caption, by chance"].mean == pytest.approx(1 / 8)
    assert found.figures["r@10/caption to sound"].mean == 1  # of eight
    assert {f"r@{k}/{way}" for k in (1, 5, 10) for way in ("sound to caption", "caption to sound")} <= set(
        found.figures
    )
    gain = found.figures["clap_score/its captions"].mean - found.figures["clap_score/other captions"].mean
    assert found.figures["gain/its captions over others"].mean == pytest.approx(gain)
    conditions = json.loads(json.dumps(found.plain()))["conditions"]
    assert conditions["sample"] == "8 distinct captions, drawn with seed 0"
    assert "no `category`" in conditions["left_out"]["accuracy"]


def test_any_caption_of_a_clip_is_a_right_answer(clap, tmp_path):
    captions = [["low", "first"], ["low"], [f"x{i}" for i in range(6)], *([f"tone {i}"] for i in range(5))]
    found = evaluate(clap, rewritten(tmp_path, captions=captions), split="valid", rows=8)
    assert found.conditions["sample"] == "13 distinct captions, drawn with seed 0"
    by_chance = [2, 1, 6, 1, 1, 1, 1, 1]  # right ones of 13 for each clip
    assert found.figures["r@1/sound to caption, by chance"].mean == pytest.approx(np.mean(by_chance) / 13)
    assert found.figures["r@1/caption to sound, by chance"].mean == pytest.approx((12 / 8 + 2 / 8) / 13)
    assert found.figures["r@1/caption to sound"].count == 13


def test_captions_that_differ_in_case_and_edges_are_one(clap, tmp_path):
    captions = [["A dog barks."], ["a dog barks. "], *([f"tone {i}"] for i in range(6))]
    found = evaluate(clap, rewritten(tmp_path, captions=captions), split="valid", rows=8)
    assert found.conditions["sample"] == "7 distinct captions, drawn with seed 0"


def test_the_page_hears_the_clips_that_were_measured(clap, tmp_path):
    silent = encode_flac(np.zeros((1, 3200), np.float32), RATE)
    sounds = [row["audio"] for row in read_rows(audio_corpus(str(tmp_path / "first")), "valid")]
    audio = [{"bytes": silent, "path": "0.flac"} if index < 3 else sound for index, sound in enumerate(sounds)]
    corpus = rewritten(tmp_path, audio=audio)
    found = evaluate(clap, corpus, split="valid", rows=8)
    assert found.conditions["clips"] == 5
    write_page(tmp_path / "page.html", found, None, clap, corpus, "valid")
    assert (tmp_path / "page.html").read_text().count("<audio") == 5


def test_captions_of_one_clip_are_found_or_missed_together():
    similarity = np.repeat(np.eye(40), 5, axis=1)
    similarity[::2] = 0
    right = np.repeat(np.eye(40, dtype=bool), 5, axis=1)
    figures = retrieval(similarity, right)
    ways = [figures[f"r@1/{way}"] for way in ("sound to caption", "caption to sound")]
    assert ways[0].mean == ways[1].mean == 0.5
    assert ways[1].count == 200
    assert ways[1].high - ways[1].low == pytest.approx(ways[0].high - ways[0].low, rel=0.2)


def test_a_clap_of_broken_weights_judges_nothing(clap, tmp_path):
    shutil.copytree(clap, tmp_path / "clap")
    model = Clap.from_pretrained(clap)
    model.head[1].weight.data.fill_(torch.nan)
    model.save_pretrained(tmp_path / "clap")
    corpus = audio_corpus(str(tmp_path / "corpus"))
    with pytest.raises(CheckpointError, match="gives NaN"):
        evaluate(str(tmp_path / "clap"), corpus, split="valid", rows=8)


def test_zero_shot_accuracy_stands_beside_chance_and_the_commonest_answer(clap, tmp_path):
    corpus = rewritten(tmp_path, category=["sci_fi"] * 4 + ["rain"] * 2 + ["dog"] + [""])
    found = evaluate(clap, corpus, split="valid", rows=8)
    accuracy = {name: f for name, f in found.figures.items() if name.startswith("accuracy/")}
    assert accuracy["accuracy/category, always sci_fi"].mean == pytest.approx(4 / 7)
    assert accuracy["accuracy/category, by chance"].mean == pytest.approx(1 / 3)
    assert {f.count for f in accuracy.values()} == {7}  # one clip is of no category
    assert found.conditions["sample"] == "8 distinct captions, 3 categories, drawn with seed 0"
    check_page(clap, None, True)
    write_page(tmp_path / "page.html", found, None, clap, corpus, "valid")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<audio") == 8
    assert "always sci_fi" in page


def test_the_nearest_class_is_that_of_all_its_words_or_of_what_is_said_of_its_clips():
    class Words:
        """Embeds a text by whether it names a dog."""

        def captions(self, texts):
            return np.array([[1.0, 0.1] if "big dog" in text else [0.0, 1.0] for text in texts])

    vectors = np.array([[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [1.0, 0.0]])
    found = zero_shot(Words(), vectors, ["big_dog", "big_dog", "rain", "rain"], {})
    assert found["accuracy/category"].mean == 0.75
    assert found["gain/category over always"].mean == 0.25
    assert not any("captions" in name for name in found)
    said = {"big_dog": ["something else"], "rain": ["a big dog"]}  # as good as the wrong way round
    found = zero_shot(Words(), vectors, ["big_dog", "big_dog", "rain", "rain"], said)
    assert found["accuracy/category by captions"].mean == 0.25


def test_categories_are_described_by_what_training_clips_are_said_to_be(tmp_path):
    rows = list(read_rows(audio_corpus(str(tmp_path / "corpus"), rows=12), "train"))
    assert described(str(tmp_path / "corpus")) == {}  # no categories there
    for index, row in enumerate(rows):
        row |= {"category": ["hum", "", "hum"][index % 3], "captions": [f"x{index % 2}", " "]}
    write_shards(rows, str(tmp_path / "other"), bounds=ShardBounds(group_rows=5))
    assert described(str(tmp_path / "other")) == {"hum": ["x0", "x1"]}
    assert described(str(tmp_path / "other"), "test") == {}


def test_clips_that_no_caption_tells_apart_are_refused(clap, tmp_path):
    with pytest.raises(DataError, match="say 1 things"):
        evaluate(clap, rewritten(tmp_path, captions=[["a tone"]] * 8), split="valid", rows=8)


def test_the_judge_hears_other_rates_and_channels_and_each_sound_by_itself(clap):
    judge, random = Judge.from_folder(clap), np.random.default_rng(0)
    waves = [random.standard_normal((1, n)).astype(np.float32) for n in (900, 4000, 2000)]
    together = judge.similarity(waves, RATE, ["a", "b"])
    assert together.shape == (3, 2)
    np.testing.assert_allclose(together[:1], judge.similarity(waves[:1], RATE, ["a", "b"]), atol=1e-5)
    stereo = np.repeat(waves[1], 2, 0)
    np.testing.assert_allclose(judge.sounds([stereo, waves[1]], RATE)[:1], judge.sounds([waves[1]], RATE), atol=1e-5)
    assert judge.sounds([waves[1]], 2 * RATE).shape == (1, 8)
