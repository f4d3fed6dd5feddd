import csv
import json

import numpy as np
import pytest

from t2a.audio.io import encode_wav
from t2a.data.corpora.folder import sounds
from t2a.data.corpora.request import Request
from t2a.errors import ConfigError, DataError


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "my sounds"
    (folder / "deep").mkdir(parents=True)
    for i, name in enumerate(("a.wav", "b.wav", "deep/c.wav")):
        clip(folder / name, i)
    return folder


def clip(path, seed=0):
    path.write_bytes(encode_wav(np.random.default_rng(seed).uniform(-0.5, 0.5, (1, 800)).astype(np.float32), 8000))


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def taken(folder):
    request = Request(folder=folder)
    found = list(sounds(request))
    return {sound.origin: sound for sound in found}, request.skips


def test_a_csv_describes_files(home):
    table(home / "captions.csv", [
        {"file": "a.wav", "caption": "A dog, barking.", "split": "validation", "licence": "CC0", "category": "animals"},
        {"file": "./b.wav", "caption": "A cat.", "split": "", "licence": "", "category": ""},
        {"file": "deep/c.wav", "caption": "A bird.", "split": "test", "licence": "CC0", "category": ""},
    ])  # fmt: skip
    found, skips = taken(home)
    assert {name: sound.captions for name, sound in found.items()} == {
        "a.wav": ["A dog, barking."], "b.wav": ["A cat."], "deep/c.wav": ["A bird."]
    }  # fmt: skip
    a = found["a.wav"]
    assert (a.source, a.licence, a.split, a.extra) == ("my sounds", "CC0", "valid", {"category": "animals"})
    assert (found["b.wav"].split, found["b.wav"].drawn_by) == (None, "b.wav")
    assert a.read()[0].shape == (1, 800)
    assert skips.counts == {}


def test_several_captions_may_come_in_columns_rows_or_lists(home):
    table(home / "t.csv", [{"file_name": "a.wav", "caption_1": "One.", "caption_2": "Two."},
                           {"file_name": "a.wav", "caption_1": "Three.", "caption_2": "One."}])  # fmt: skip
    (home / "t.jsonl").write_text(
        json.dumps({"audio": "b.wav", "captions": ["Four.", " ", "Five."]})
        + "\n\n"
        + json.dumps({"path": "deep/c.wav", "text": "Six."})
    )
    found, _ = taken(home)
    assert [found[n].captions for n in found] == [["One.", "Two.", "Three."], ["Four.", "Five."], ["Six."]]


def test_captions_may_lie_beside_the_files(home):
    (home / "a.txt").write_text("A dog.\n\nA big dog.\n", encoding="utf-8-sig")
    (home / "b.json").write_text(json.dumps({"caption": "A cat.", "license": "CC-BY", "split": "dev"}))
    (home / "deep" / "c.json").write_text(json.dumps(["A bird."]))
    found, skips = taken(home)
    assert [found[n].captions for n in found] == [["A dog.", "A big dog."], ["A cat."], ["A bird."]]
    assert (found["b.wav"].licence, found["b.wav"].split, found["a.wav"].licence) == ("CC-BY", "valid", "unknown")
    assert skips.counts == {}


def test_a_table_named_after_a_split_decides_it(home):
    table(home / "train.csv", [{"file": "a.wav", "caption": "A."}, {"file": "b.wav", "caption": "B."}])
    table(home / "val.csv", [{"file": "deep/c.wav", "caption": "C."}])
    found, _ = taken(home)
    assert [sound.split for sound in found.values()] == ["train", "train", "valid"]


def test_what_lacks_a_caption_or_a_file_is_counted(home):
    table(home / "t.csv", [{"file": "a.wav", "caption": " "}, {"file": "gone.wav", "caption": "Gone."}])
    (home / "deep" / "c.json").write_text("{")
    found, skips = taken(home)
    assert not found
    assert skips.examples == {
        "missing file": ["gone.wav"],
        "no caption": ["a.wav", "b.wav"],
        "unreadable caption file": ["deep/c.wav"],
    }


def test_a_broken_line_of_a_jsonl_is_counted(home):
    (home / "t.jsonl").write_text('{"file": "a.wav", "caption": "A."}\n{"file": \n[1]\n')
    found, skips = taken(home)
    assert list(found) == ["a.wav"]
    assert skips.examples["unreadable caption file"] == ["t.jsonl:2", "t.jsonl:3"]


def test_nothing_outside_the_folder_is_read(home, tmp_path):
    clip(tmp_path / "secret.wav")
    (home / "link.wav").symlink_to(tmp_path / "secret.wav")
    (home / "link.txt").write_text("Linked.")
    rows = [{"file": "../secret.wav", "caption": "Up."}, {"file": str(tmp_path / "secret.wav"), "caption": "Absolute."},
            {"file": "a.wav", "caption": "A."}]  # fmt: skip
    table(home / "t.csv", rows)
    found, skips = taken(home)
    assert list(found) == ["a.wav"]
    assert skips.examples["outside the folder"] == ["../secret.wav", str(tmp_path / "secret.wav"), "link.wav"]


def test_a_table_that_names_no_files_is_told(home):
    table(home / "results.csv", [{"score": "1", "caption": "x"}])
    with pytest.raises(DataError, match=r"results\.csv names no files: it has score, caption"):
        taken(home)


def test_text_that_is_not_utf8_is_told(home):
    (home / "t.csv").write_bytes("file,caption\na.wav,Geräusch\n".encode("latin1"))
    with pytest.raises(DataError, match="UTF-8"):
        taken(home)


def test_a_missing_or_empty_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        taken(tmp_path / "gone")
    with pytest.raises(DataError, match="no audio file"):
        taken(tmp_path)
    with pytest.raises(ConfigError, match="needs a folder"):
        taken(None)
