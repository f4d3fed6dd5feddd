"""One clip asked for over HTTP, as any client would."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from t2a.audio.io import decode
from t2a.demo.services import free_ports
from t2a.errors import T2AError

READY_SECONDS = 120.0


def answer_over_http(model: str, prompt: str, folder: Path) -> dict[str, Any]:
    """Start `t2a serve`, ask it for one clip, and end it."""
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    log = folder / "serve.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "t2a.cli", "serve", model, "--port", str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_healthy(server, address, log)
        request = {"prompt": prompt, "seconds": 1.0, "seed": 0}
        start = time.perf_counter()
        answer = httpx.post(f"{address}/v1/audio/generations", json=request, timeout=120)
        took = time.perf_counter() - start
        answer.raise_for_status()
        path = folder / "clips" / "served.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(answer.content)
        wave, rate = decode(path)
        return {**request, "file": str(path), "took": took, "samples": wave.shape[-1], "rate": rate}
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_healthy(server: subprocess.Popen, address: str, log: Path) -> None:
    """Return when the server answers; `T2AError` when it ended or takes too long."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise T2AError(f"`t2a serve` ended with exit code {server.returncode}; its last words are in {log}.")
        try:
            if httpx.get(f"{address}/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise T2AError(f"`t2a serve` did not answer within {READY_SECONDS:.0f} s; its last words are in {log}.")
