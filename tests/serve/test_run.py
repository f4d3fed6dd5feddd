import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
import soundfile

from t2a.demo.services import free_ports
from t2a.errors import ConfigError, T2AError
from t2a.serve.run import banner, check_free, serve

SECONDS_TO_START = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A tiny language model with its codec, as a run exports it."""
    import torch

    from t2a.config import validate
    from t2a.models.codec import Codec, CodecConfig
    from t2a.nn.quantize import QuantizerConfig
    from t2a.tasks.lm import LMTaskConfig

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    quantizer = QuantizerConfig(codebooks=2, bins=16, kmeans_steps=3)
    codec = Codec(CodecConfig(filters=2, ratios=(8, 5, 4, 2), dimension=4, quantizer=quantizer)).train()
    codec(0.5 * torch.randn(4, 1, 16000))  # learns its codebooks
    codec.save_pretrained(folder / "codec")
    sizes = {"codebooks": 2, "bins": 16, "width": 32, "layers": 1, "heads": 2, "max_frames": 100}
    recipe = {"kind": "lm", "codec": str(folder / "codec"), "model": sizes}
    task = validate(LMTaskConfig, recipe, "recipe").build()
    (folder / "lm").mkdir()
    task.export({"lm": task.networks()["lm"].state_dict()}, folder / "lm")
    return folder / "lm"


def start(log: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "t2a.cli", "serve", *arguments]
    clean = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, env=clean | environment)


def wait_for(server: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            # It answers a moment before it says so; whoever reads the log waits for the latter.
            if httpx.get(f"{address}/health").status_code == 200 and "answers on" in log.read_text():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"no answer: {log.read_text()}")


@pytest.mark.ray
@pytest.mark.parametrize("ending", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_t2a_serve_answers_reproducibly_and_ends_all_it_started(model, tmp_path, ending):
    (port,) = free_ports(1)
    address, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    before = set(Path("/tmp").glob("t2a-serve-*"))
    server = start(log, str(model), "--port", str(port), T2A_API_TOKEN="secret")
    family: list[psutil.Process] = []
    try:
        wait_for(server, address, log)
        family = psutil.Process(server.pid).children(recursive=True)
        ask = {"headers": {"authorization": "Bearer secret"}, "json": {"prompt": "A dog.", "seconds": 0.5, "seed": 3}}
        first, again = (httpx.post(f"{address}/v1/audio/generations", timeout=60, **ask) for _ in range(2))
        assert first.status_code == 200, first.text
        assert first.content == again.content
        wave, rate = soundfile.read(io.BytesIO(first.content))
        assert (rate, len(wave), first.headers["x-t2a-model"]) == (16000, 8000, str(model))
        assert abs(wave).max() <= 1
        assert httpx.post(f"{address}/v1/audio/generations", json=ask["json"]).status_code == 401
    finally:
        server.send_signal(ending)
        code = server.wait(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert len(family) > 3
    assert not alive
    assert code == 0
    assert set(Path("/tmp").glob("t2a-serve-*")) <= before
    said = log.read_text()
    assert f"answers on {address}" in said
    assert "secret" not in said
    assert "Traceback" not in said


def test_a_busy_port_is_one_sentence_before_anything_is_loaded(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = start(tmp_path / "log", "no-such-model", "--port", str(port))
        assert server.wait(timeout=60) == 1
    said = (tmp_path / "log").read_text()
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in said
    assert "choose another --port" in said
    assert len(said.splitlines()) == 1


def test_a_missing_model_is_one_sentence_and_starts_no_ray(tmp_path):
    server = start(tmp_path / "log", str(tmp_path / "nothing"), "--port", str(free_ports(1)[0]))
    assert server.wait(timeout=60) == 1
    said = (tmp_path / "log").read_text()
    assert "no such folder" in said
    assert "Traceback" not in said


def test_no_replica_is_one_sentence_and_starts_no_ray(model):
    with pytest.raises(ConfigError, match=r"(?s)the server: .*replicas"):
        serve(str(model), port=free_ports(1)[0], replicas=0)


def test_a_host_of_another_machine_is_refused():
    with pytest.raises(T2AError, match="choose another --port or --host"):
        check_free("192.0.2.77", 8000)


@pytest.mark.parametrize(
    ("host", "token", "warned"), [("127.0.0.1", "", False), ("0.0.0.0", "", True), ("0.0.0.0", "x", False)]
)
def test_serving_beyond_this_machine_without_a_token_is_warned_of(monkeypatch, host, token, warned):
    monkeypatch.setenv("T2A_API_TOKEN", token)
    text = banner("lm", host, 8000)
    assert ("set T2A_API_TOKEN" in text) == warned
    assert ("Bearer" in text) == bool(token)
