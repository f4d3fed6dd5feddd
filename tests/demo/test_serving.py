import subprocess
from pathlib import Path

import pytest

from t2a.demo import serving
from t2a.demo.serving import answer_over_http, wait_until_healthy
from t2a.errors import T2AError


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    with subprocess.Popen(["false"]) as server:
        server.wait()
        with pytest.raises(T2AError, match=r"ended with exit code 1; its last words are in .*serve\.log"):
            wait_until_healthy(server, "http://127.0.0.1:9", tmp_path / "serve.log")


def test_a_server_that_never_answers_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(serving, "READY_SECONDS", 0.0)
    with pytest.raises(T2AError, match="did not answer within 0 s"):
        answer_over_http(str(tmp_path / "no model"), "rain", tmp_path)
