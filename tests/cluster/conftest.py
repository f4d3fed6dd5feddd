"""A Ray of its own for each test here, in a short temporary folder."""

import shutil
import tempfile
from collections.abc import Iterator

import pytest
import ray


@pytest.fixture
def local_ray() -> Iterator[None]:
    """Four CPU slots on this machine."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    try:
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
