from pathlib import Path

import pytest

from t2a.errors import CheckpointError
from t2a.registry import register, resolve


@pytest.fixture(params=["database", "server"])
def registry(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "database":
        uri = f"sqlite:///{tmp_path}/mlflow.db"
    else:
        uri = request.getfixturevalue("mlflow_server").uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def test_an_alias_follows_the_newest_registration(registry: str, tmp_path: Path) -> None:
    places = [str(tmp_path / "model"), "s3://bucket/run/step_00000001/model"]
    versions = [register("codec", place, "champion") for place in places]
    assert resolve("models:/codec@champion") == places[1]
    assert [resolve(f"models:/codec/{version}") for version in versions] == places
    register("codec", places[0], "candidate")
    assert resolve("models:/codec@champion") == places[1]
    assert resolve("models:/codec@candidate") == places[0]


def test_a_relative_folder_is_found_from_anywhere(registry: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    register("near", "model", "champion")
    monkeypatch.chdir("/")
    assert resolve("models:/near@champion") == str(tmp_path / "model")


def test_unknown_names_get_a_sentence(registry: str) -> None:
    for uri in ("models:/nobody@champion", "models:/nobody/1"):
        with pytest.raises(CheckpointError, match=f"{uri} is not in the registry at {registry}"):
            resolve(uri)
    with pytest.raises(CheckpointError, match="write models:/NAME@ALIAS"):
        resolve("models:/a@b/c")
    with pytest.raises(CheckpointError, match="Cannot register"):
        register("bad/name", "x", "champion")


def test_without_a_setting_the_database_lies_in_the_current_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    register("here", "s3://b/m", "champion")
    assert (tmp_path / "mlflow.db").exists()
    assert resolve("models:/here@champion") == "s3://b/m"
