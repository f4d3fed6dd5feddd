"""MLflow: one run for one training run, made by the driver, written by rank 0, never in the way of training."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from t2a import registry
from t2a.config import Config
from t2a.errors import T2AError
from t2a.train.outbox import Record
from t2a.train.redact import brief, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

BATCH = 1000  # metrics in one request, MLflow's limit
PARAMS, PARAM_LENGTH = 100, 6000  # in one request, in one value


class TrackConfig(Config):
    """Where a run is tracked. `uri` None means MLFLOW_TRACKING_URI, else `mlflow.db` in the current folder.

    parent: the id of the MLflow run that this one is nested in, such as a search's.
    """

    enabled: bool = True
    uri: str | None = None
    experiment: str = "t2a"
    parent: str | None = None
    system_seconds: float = Field(10.0, gt=0)  # between two samples of processor, memory, disk and network


class RunHandle(NamedTuple):
    """All a worker needs to write to a run."""

    tracking_uri: str
    experiment_id: str
    run_id: str


def start_run(
    config: TrackConfig, name: str, recipe: str, params: Mapping[str, Any], run_id: str | None = None
) -> RunHandle | None:
    """Create a run, or go on with `run_id`, and log its recipe and parameters; None when tracking is off.

    Called once, in the driver: concurrent creators of an experiment collide. Raises `T2AError` when MLflow is away.
    """
    if not config.enabled:
        return None
    uri = _absolute(config.uri or registry.tracking_uri())
    from mlflow.exceptions import MlflowException

    try:
        client = registry.client(uri)
        run = _existing(client, run_id) if run_id else None
        if run is None:
            tags = {"mlflow.parentRunId": config.parent} if config.parent else None
            run = client.create_run(_experiment(client, uri, config.experiment), run_name=name, tags=tags)
        else:
            client.update_run(run.info.run_id, status="RUNNING")
        handle = RunHandle(uri, run.info.experiment_id, run.info.run_id)
        client.log_text(handle.run_id, redact(recipe), "recipe.yaml")
        _log_params(client, handle.run_id, params, known=run.data.params)
    except MlflowException as error:
        raise T2AError(
            f"Cannot track the run at {redact(uri)}: {why(error)}; start that server, correct track.uri or "
            "MLFLOW_TRACKING_URI, or set track.enabled=false."
        ) from error
    return handle


def end_run(handle: RunHandle | None, status: str) -> None:
    """Set the final status (FINISHED, FAILED, KILLED) from the driver; a server that is away is only warned of."""
    if handle is None:
        return
    try:
        registry.client(handle.tracking_uri).set_terminated(handle.run_id, status)
    except Exception as error:
        log.warning("MLflow at %s does not learn that the run ended: %s", redact(handle.tracking_uri), why(error))


def send_metrics(client: "MlflowClient", run_id: str, records: Sequence[Record]) -> None:
    """Log metrics, 1000 a request; those that are there already change nothing."""
    from mlflow.entities import Metric

    for first in range(0, len(records), BATCH):
        client.log_batch(run_id, metrics=[Metric(*record) for record in records[first : first + BATCH]])


def history(run_id: str, uri: str | None = None) -> dict[str, list[tuple[int, float]]]:
    """Every metric of a run: name -> its (step, value) points, by step; of a step logged twice, the newer."""
    client = registry.client(_absolute(uri or registry.tracking_uri()))
    found: dict[str, list[tuple[int, float]]] = {}
    for name in client.get_run(run_id).data.metrics:
        points = sorted(client.get_metric_history(run_id, name), key=lambda m: m.timestamp)
        found[name] = sorted({m.step: m.value for m in points}.items())
    return found


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """{"a": {"b": 1}} -> ("a.b", "1"); lists stay whole, as JSON."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield metric_name(f"{prefix}{key}"), value if isinstance(value, str) else json.dumps(value, default=str)


def _log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Log those not known yet: MLflow never changes one, and a run that goes on may have other workers."""
    from mlflow.entities import Param

    new = [Param(key, redact(value)[:PARAM_LENGTH]) for key, value in flatten(params) if key not in known]
    for first in range(0, len(new), PARAMS):
        client.log_batch(run_id, params=new[first : first + PARAMS])


def _existing(client: "MlflowClient", run_id: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        log.warning("The MLflow run %s is gone; a new one is started.", run_id)
        return None


def _experiment(client: "MlflowClient", uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    # A server has its own place for artifacts; beside a plain database they would land in each process's folder.
    place = (
        Path(uri.removeprefix("sqlite:///")).parent / "mlruns" / metric_name(name)
        if uri.startswith("sqlite:")
        else None
    )
    try:
        return client.create_experiment(name, artifact_location=place.as_uri() if place else None)
    except MlflowException:
        found = client.get_experiment_by_name(name)  # somebody else was quicker
        if found is None:
            raise
        return found.experiment_id


def _absolute(uri: str) -> str:
    """`sqlite:///mlflow.db` means another file in every worker's folder."""
    prefix, path = "sqlite:///", uri.removeprefix("sqlite:///")
    return f"{prefix}{Path(path).absolute()}" if uri.startswith(prefix) else uri


def why(error: BaseException) -> str:
    """What an MLflow error says, without the three sentences that it makes of a server that is not there."""
    return "no answer" if "Max retries exceeded" in str(error) else brief(error)


def metric_name(text: str) -> str:
    """A name as MLflow allows them."""
    return re.sub(r"[^\w\-./ ]", "_", text)[:250]
