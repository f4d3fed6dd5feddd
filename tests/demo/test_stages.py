from pathlib import Path

import pytest
from rich.console import Console

from t2a.data.prepare import prepare
from t2a.data.shards import read_manifest
from t2a.demo import report, stages
from t2a.demo.stages import Demo, contents, statistics
from t2a.demo.state import State
from t2a.demo.trainings import TRAININGS
from t2a.errors import DataError
from t2a.evaluate.evaluation import Evaluation
from t2a.train.fit import Result


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


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the stages were told, in their order; nothing is trained, and nothing heard."""
    told: dict = {}

    def trained(run) -> Result:
        told[run.name] = run
        return Result(run.steps, {}, f"{run.name}/model", run.folder, f"mlflow of {run.name}")

    def derived(kind: str):
        def made(corpus: str, out: str, model: str, **options) -> object:
            told[kind] = (corpus, out, model, options)
            return read_manifest(corpus)

        return made

    def measured(model: str, corpus: str, **options) -> Evaluation:
        told[model] = (corpus, options)
        return Evaluation({})

    monkeypatch.setattr(stages, "prepare", few)
    monkeypatch.setattr(stages, "fit", trained)
    monkeypatch.setattr(stages.registry, "register", lambda name, *_, **__: f"models:/{name}/1")
    monkeypatch.setattr(stages, "precompute_codes", derived("codes"))
    monkeypatch.setattr(stages, "precompute_latents", derived("latents"))
    monkeypatch.setattr(stages, "evaluate", measured)
    monkeypatch.setattr(stages, "generate_prompts", lambda models, *_, **__: told.update(speak=list(models)) or [])
    monkeypatch.setattr(stages, "reconstruct", lambda models, *_, **__: told.update(copied=list(models)) or [])
    monkeypatch.setattr(stages, "answer_over_http", lambda model, *_: told.update(served=model) or {})
    monkeypatch.setattr(report, "write_report", lambda path, *facts: told.update(page=facts))
    return told


def test_the_stages_go_from_sounds_to_the_report_and_each_finds_the_models_before_it(told, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    assert demo(tmp_path).run() == tmp_path / "report.html"
    task = told["denoiser-small"].task
    assert (task.autoencoder, task.vocoder) == ("autoencoder-small/model", "vocos-small/model")
    assert told["denoiser-small"].data.uri == told["latents"][1] == str(bucket / "latents")
    assert told["lm-small"].task.codec == told["codes"][2] == "codec-small/model"
    corpus, _, model, options = told["latents"]
    assert (corpus, model, options["encoders"]) == (str(bucket / "corpus"), "autoencoder-small/model", task.encoders)
    assert told["denoiser-small/model"][0] == str(bucket / "latents")
    assert told["autoencoder-small/model"] == (
        str(bucket / "corpus"), {"split": "test", "rows": 16, "listened": 4, "vocoder": "vocos-small/model"}
    )  # fmt: skip
    assert (told["speak"], told["copied"], told["served"]) == (["lm", "denoiser"], list(TRAININGS), "lm-small/model")
    facts, seconds, recipes = told["page"]
    assert facts.keys() == seconds.keys() == {"corpus", "codes", "latents", "evaluate", "generate", "serve", *TRAININGS}
    assert recipes.keys() == TRAININGS.keys()


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("codec", {"codes", "lm-small"}),
        ("autoencoder", {"latents", "denoiser-small"}),
        ("vocoder", {"denoiser-small"}),
        ("lm", set()),
    ],
)
def test_a_model_made_anew_makes_what_is_built_on_it_anew_and_not_the_other_kind_of_model(
    told, tmp_path: Path, changed: str, again: set[str]
) -> None:
    demo(tmp_path).run()
    told.clear()
    second = demo(tmp_path)
    second.state.stages[changed]["made"] = "just now"
    second.run()
    trained = {name for name in told if name.endswith("-small") or name in ("codes", "latents")}
    assert trained == again
    assert ("served" in told) == (changed in ("codec", "lm"))
    assert {"speak", "copied", "denoiser-small/model"} <= told.keys()
