"""`python -m t2a.demo [--fresh]`: every stage of the platform on a laptop, in one go.

Starts an S3 server, MLflow and Ray for itself, and ends all three whatever happens.
"""

import argparse
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from t2a.demo.services import MLflowServer, SeaweedFS
from t2a.demo.state import State
from t2a.errors import T2AError

BUCKET = "t2a"
LOCK = "demo.lock"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier demo did, and start over")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where everything of the demo goes")
    parser.add_argument("--corpus", choices=("debian-sounds", "synthetic"), default="debian-sounds")
    parser.add_argument("--quick", action="store_true", help="a few steps on synthetic sounds: does it all work?")
    options = parser.parse_args()
    console = Console()
    # A polite kill unwinds like Ctrl-C does, so that no service outlives the demo.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.getsignal(signal.SIGINT))
    folder = options.folder.absolute()
    try:
        with alone(folder):
            if options.fresh:
                empty(folder)
            report = run(folder, console, "synthetic" if options.quick else options.corpus, options.quick)
    except T2AError as error:
        console.print(f"[bold red]error:[/] {error}", soft_wrap=True, markup=True, highlight=False)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("interrupted; `make demo` goes on where it stopped")
        return 130
    console.print(f"[bold green]done:[/] open {os.path.relpath(report)}")
    return 0


def run(folder: Path, console: Console, corpus: str, quick: bool) -> Path:
    """All stages, between the start and the end of the services; the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        console.print("starting S3 (SeaweedFS) and MLflow")
        s3 = stack.enter_context(SeaweedFS(folder / "s3", bucket=BUCKET))
        s3.export()
        mlflow = stack.enter_context(MLflowServer(folder / "mlflow"))
        os.environ["MLFLOW_TRACKING_URI"] = mlflow.uri
        stack.callback(end_ray)
        # Imported only now: Ray and botocore read the environment when they load.
        from t2a.demo.stages import Demo

        return Demo(folder, f"s3://{BUCKET}", State(folder, console), corpus, quick).run()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` while the body runs; the system takes it back however this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise T2AError(
                f"A demo is running in {folder} already (process {lock.read().strip() or 'unknown'}); wait for it, end "
                "it, or name another --folder."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def empty(folder: Path) -> None:
    """Remove all that earlier demos have left in `folder`, but not our lock."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            path.unlink()


def end_ray() -> None:
    """End this process's own Ray, if a stage has started one."""
    if "ray" in sys.modules:
        import ray

        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
