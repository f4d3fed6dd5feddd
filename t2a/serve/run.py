"""`t2a serve`: the application in the foreground, until Ctrl-C."""

import ipaddress
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil
import ray
from ray import serve as ray_serve
from rich.console import Console

from t2a.config import validate
from t2a.errors import T2AError
from t2a.models.pretrained import locate, read_config
from t2a.serve.app import TOKEN, ServeConfig, application

NAME = "t2a"
PATIENCE = 5.0  # seconds that a process of ours has to end by itself


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    replicas: int = 1,
    queue: int = 16,
    gpu: bool = False,
    load: Callable[..., Any] | None = None,
) -> None:
    """Serve `model` until Ctrl-C or SIGTERM, then end what was started.

    A Ray cluster is joined where RAY_ADDRESS names one, otherwise one is started on this machine for the time being.
    Raises `T2AError` for a busy port or a model that cannot be loaded.
    """
    check_free(host, port)
    console = Console(stderr=True, markup=False)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        stack.enter_context(signals())
        console.print(f"loading {model}", highlight=False)
        shared = bool(os.environ.get("RAY_ADDRESS")) or ray.is_initialized()
        # A wrong name fails here in a sentence. Other machines of a shared cluster have no use for our local copy.
        here = model if load else located(model)
        where = model if shared else here
        cpus = 1.0 if shared else max(1.0, (os.cpu_count() or 1) // max(replicas, 1))
        asked = {"replicas": replicas, "queue": queue, "cpus": cpus, "gpu": gpu}
        config = validate(ServeConfig, {"model": where, "name": model} | asked, "the server")
        stack.enter_context(cluster(logical_cpus=replicas * cpus + 1))
        stack.enter_context(signals())  # once more: Ray puts its own handler of SIGTERM in the place of ours
        stack.enter_context(deployed(config, host, port, load))
        console.print(banner(model, host, port), highlight=False, soft_wrap=True)
        stack.callback(console.print, "ending")
        while True:
            signal.pause()


def check_free(host: str, port: int) -> None:
    """Raise `T2AError` when nothing can listen on `host`:`port`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise T2AError(
            f"cannot listen on {host}:{port} ({error.strerror}): end what uses it, or choose another --port or --host"
        ) from error


def located(model: str) -> str:
    folder = locate(model)
    read_config(folder)
    return str(folder)


def banner(model: str, host: str, port: int) -> str:
    """What a user wants to know now: where, how to try it, how to end it, and who else can reach it."""
    token = bool(os.environ.get(TOKEN))
    header = f' -H "authorization: Bearer ${TOKEN}"' if token else ""
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = [
        f"{model} answers on {address} (Ctrl-C ends it); try",
        f'  curl {address}/v1/audio/generations{header} --json \'{{"prompt": "A dog barks."}}\' -o clip.wav',
    ]
    if not token and not is_loopback(host):
        lines.append(f"warning: anyone who reaches this machine can use it; set {TOKEN} to ask for a token")
    return "\n".join(lines)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def signals() -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM raise `KeyboardInterrupt`, and further ones not disturb the ending."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(*_: Any) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def cluster(logical_cpus: float) -> Iterator[None]:
    """The Ray that is there already, or one of our own on this machine, ended with its files afterwards."""
    if ray.is_initialized():
        yield
        return
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address=address, namespace=NAME, configure_logging=False)
        try:
            yield
        finally:
            ray.shutdown()
        return
    folder = tempfile.mkdtemp(prefix="t2a-serve-", dir="/tmp")  # sockets need a short path
    others = set(psutil.Process().children(recursive=True))
    try:
        ray.init(
            address="local",
            num_cpus=logical_cpus,
            include_dashboard=False,
            namespace=NAME,
            configure_logging=False,
            _temp_dir=folder,
        )
        yield
    finally:
        started = set(psutil.Process().children(recursive=True)) - others
        ray.shutdown()
        end(started)
        shutil.rmtree(folder, ignore_errors=True)


def end(processes: Collection[psutil.Process]) -> None:
    """Wait for processes that have been asked to go; Ray's agents can take a minute to see it, they are made to."""
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=PATIENCE)


@contextmanager
def deployed(config: ServeConfig, host: str, port: int, load: Callable[..., Any] | None) -> Iterator[None]:
    """The application, running; `T2AError` when the model does not come up."""
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    # What the controller and the client would say about a failed start is told below, in one sentence.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    silent = {"log_level": "CRITICAL", "enable_access_log": False}
    ray_serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port}, logging_config=silent)
    others = {name for name in ray_serve.status().applications if name != NAME}
    try:
        try:
            ray_serve.run(application(config, load), name=NAME, route_prefix="/", logging_config=quiet)
        except RuntimeError as error:
            raise T2AError(f"{config.title} cannot be served: {reason()}") from error
        yield
    finally:
        ray_serve.delete(NAME)
        if not others:
            ray_serve.shutdown()


def reason() -> str:
    """The last line of what a failed replica said."""
    found = ray_serve.status().applications.get(NAME)
    told = [d.message for d in found.deployments.values() if d.message] if found else []
    lines = [line.strip() for text in told for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or ["see the log above"])[-1].removeprefix("t2a.errors.")
