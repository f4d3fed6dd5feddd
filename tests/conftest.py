"""Real services for the tests, started once a session when a test asks for them."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2a.demo.services import MLflowServer, SeaweedFS

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A SeaweedFS server with the bucket `s3.uri`, to which the environment points.

    `s3.kill()` and `s3.start()` make an outage.
    """
    service = SeaweedFS(tmp_path_factory.mktemp("s3"))
    with pytest.MonkeyPatch.context() as patch, service:
        for name, value in service.variables().items():
            patch.setenv(name, value)
        yield service


@pytest.fixture
def bucket(s3: SeaweedFS) -> str:
    """An empty `s3://` folder of this test's own."""
    return f"{s3.uri}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder, once local and once on S3."""
    return str(tmp_path / "place") if request.param == "local" else request.getfixturevalue("bucket")


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """An MLflow tracking server at `mlflow_server.uri`."""
    with MLflowServer(tmp_path_factory.mktemp("mlflow")) as service:
        yield service
