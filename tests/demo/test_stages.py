from pathlib import Path

import pytest
from rich.console import Console

from t2a.data.prepare import prepare
from t2a.data.shards import read_manifest
from t2a.demo import stages
from t2a.demo.stages import Demo, contents, statistics
from t2a.demo.state import State
from t2a.errors import DataError


def demo(folder: Path, source: str = "synthetic", quick: bool = True) -> Demo:
    return Demo(folder, str(folder / "bucket"), State(folder, Console(quiet=True)), source, quick)


def few(source: str, out: str, **options) -> object:
    return prepare(source, out, **options | {"count": 30})


def test_a_corpus_is_counted_by_split_category_and_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "prepare", few)
    facts = demo(tmp_path).corpus()
    assert (facts["source"], facts["why"]) == ("synthetic", None)
    manifest = read_manifest(str(tmp_path / "bucket" / "corpus"))
    assert statistics(manifest)["splits"] == facts["splits"]
    assert sum(split["clips"] for split in facts["splits"].values()) == 30
    hours = sum(split["hours"] for split in facts["splits"].values())
    assert sum(facts["categories"].values()) == pytest.approx(60 * hours, rel=1e-3)
    assert list(facts["categories"].values()) == sorted(facts["categories"].values(), reverse=True)
    assert facts["licences"] == {"CC0-1.0": 30}
    assert contents(str(tmp_path / "bucket" / "corpus"), manifest)["licences"] == facts["licences"]


def test_without_apt_sounds_are_synthesised_and_it_is_said_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(source: str, out: str, **options) -> object:
        if source == "debian-sounds":
            raise DataError("There is no apt here; `t2a prepare synthetic` needs none.")
        return few(source, out, **options)

    monkeypatch.setattr(stages, "prepare", failing)
    facts = demo(tmp_path, "debian-sounds", quick=False).corpus()
    assert facts["source"] == "synthetic"
    assert "no apt" in facts["why"]


def test_another_failure_of_the_source_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(source: str, out: str, **options) -> object:
        raise DataError("too many rows are unusable")

    monkeypatch.setattr(stages, "prepare", failing)
    with pytest.raises(DataError, match="unusable"):
        demo(tmp_path, "debian-sounds").corpus()


@pytest.mark.parametrize(("quick", "codec_steps"), [(True, 30), (False, 1300)])
def test_recipes_write_into_the_demos_bucket(tmp_path: Path, quick: bool, codec_steps: int) -> None:
    made = demo(tmp_path, quick=quick)
    run = made.recipe("codec", [f"data.uri={made.corpus_uri}"])
    assert (run.steps, run.folder) == (codec_steps, str(tmp_path / "bucket" / "runs" / "codec-small"))
    assert made.recipe("lm", [f"data.uri={made.codes_uri}", "task.codec=x"]).data.uri == made.codes_uri
