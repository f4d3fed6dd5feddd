"""Names for trained models: the MLflow model registry, `models:/name@alias` -> where the model lies."""

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from t2a.errors import CheckpointError

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI_TAG = "t2a.uri"  # a server refuses local folders as the source of a version, so the place is kept beside it


def tracking_uri() -> str:
    """The MLflow server or database in use: `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def client(uri: str) -> "MlflowClient":
    """An MLflow client that gives up within seconds: by itself it tries again for minutes without a word."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every version that it waits for

    return MlflowClient(uri, uri)


def register(name: str, uri: str | Path, alias: str, run_id: str | None = None) -> str:
    """Make the model folder `uri` the next version of `name` and point `alias` at it; returns the version.

    `run_id` is the MLflow run that trained it. Raises `CheckpointError`.
    """
    from mlflow.exceptions import MlflowException

    place = str(uri) if "://" in str(uri) else os.path.abspath(uri)  # noqa: PTH100 - a server refuses `..`
    # What the server gets to see is never a local path; `resolve` reads the tag.
    source = place if place.startswith("s3://") else f"t2a:{place}"
    mlflow = client(tracking_uri())
    try:
        if not mlflow.search_registered_models(f"name = '{name}'"):
            mlflow.create_registered_model(name)
        version = mlflow.create_model_version(name, source, run_id=run_id, tags={URI_TAG: place})
        mlflow.set_registered_model_alias(name, alias, str(version.version))
    except MlflowException as error:
        raise CheckpointError(
            f"Cannot register {uri} as {name}@{alias} in {tracking_uri()}: {error.message}."
        ) from error
    return str(version.version)


def resolve(uri: str) -> str:
    """Find where `models:/name@alias` or `models:/name/version` lies; `CheckpointError` when nothing has that name."""
    match = re.fullmatch(r"models:/+([^/@]+)(?:@([^/@]+)|/(\d+))", uri)
    if match is None:
        raise CheckpointError(f"{uri}: write models:/NAME@ALIAS or models:/NAME/VERSION.")
    name, alias, version = match.groups()
    from mlflow.exceptions import MlflowException

    mlflow = client(tracking_uri())
    try:
        found = mlflow.get_model_version_by_alias(name, alias) if alias else mlflow.get_model_version(name, version)
    except MlflowException as error:
        raise CheckpointError(f"{uri} is not in the registry at {tracking_uri()}: {error.message}.") from error
    return found.tags.get(URI_TAG) or str(found.source)
