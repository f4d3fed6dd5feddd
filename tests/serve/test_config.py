"""The example of a Serve config: what it names is there and takes its arguments."""

from importlib import import_module
from pathlib import Path

import yaml
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema

from t2a.config import validate
from t2a.serve.app import ServeConfig

EXAMPLE = Path(__file__).parents[2] / "cluster" / "serve.yaml"


def test_the_example_builds_an_application_that_listens_on_this_machine_only() -> None:
    schema = ServeDeploySchema.model_validate(yaml.safe_load(EXAMPLE.read_text()))
    assert schema.http_options.host == "127.0.0.1"
    (application,) = schema.applications
    module, builder = application.import_path.split(":")
    assert isinstance(getattr(import_module(module), builder)(application.args), Application)
    assert validate(ServeConfig, application.args, "the example").title == "models:/lm-small@champion"
