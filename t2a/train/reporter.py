"""The reporter of rank 0: metrics, sounds and pictures to MLflow, never in the way of training."""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from t2a import registry
from t2a.audio import io
from t2a.train.machine import Machine
from t2a.train.outbox import Outbox, Record
from t2a.train.pictures import mel_picture
from t2a.train.redact import brief, redact
from t2a.train.track import RunHandle, metric_name, send_metrics, why

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

BEAT_SECONDS, LONGEST_PAUSE = 1.0, 15.0  # between deliveries; while the server is away, pauses double
IN_MEMORY = 20_000  # metrics; more go to the disk
RENDERINGS = 64  # artifacts waiting to be rendered; more push out the oldest


class NullReporter:
    """Takes everything and tells nobody: for all ranks but the first, and for untracked runs."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def audio(self, step: int, name: str, wave: Tensor | np.ndarray, rate: int) -> None: ...

    def figure(self, step: int, name: str, figure: "Figure") -> None: ...

    def text(self, path: str, text: str) -> None: ...

    def json(self, path: str, value: Any) -> None: ...

    def close(self, status: str | None = "FINISHED", patience: float = 20.0) -> None: ...


class Reporter(NullReporter):
    """Writes to a run from a thread of its own; no call waits for the server or fails because of it.

    While the server is away everything is kept in `folder` (default: below `T2A_CACHE`), and sent when it is back, by
    this process or by the next one that reports for the same run on this machine. Every metric arrives exactly once.
    """

    def __init__(self, handle: RunHandle, system_seconds: float = 10.0, folder: Path | None = None) -> None:
        cache = Path(os.environ.get("T2A_CACHE") or "~/.cache/t2a").expanduser()
        self.handle = handle
        self.outbox = Outbox(folder or cache / "track" / handle.run_id)
        self._records: list[Record] = []
        self._sending: list[Record] = []
        self._renderings: dict[str, Callable[[Path], None]] = {}
        self._lock = threading.Lock()
        self._machine = Machine(system_seconds)
        self._step = 0
        self._away: str | None = None
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._status: str | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._live, name="t2a-track", daemon=True)
        self._thread.start()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Log scalars of a training step."""
        now = int(time.time() * 1000)
        self._step = step
        with self._lock:
            self._records += [Record(metric_name(key), float(value), now, step) for key, value in values.items()]
            overflow, self._records = (self._records, []) if len(self._records) > IN_MEMORY else ([], self._records)
        self.outbox.keep(overflow)

    def audio(self, step: int, name: str, wave: Tensor | np.ndarray, rate: int) -> None:
        """Log a wave [C, T] at `rate` Hz, and a picture of its mel spectrogram beside it."""
        sound = torch.as_tensor(wave).detach().to("cpu", torch.float32, copy=True).numpy()
        path = f"audio/{metric_name(name)}/step_{step:08d}"
        self._render(f"{path}.wav", lambda file: file.write_bytes(io.encode_wav(sound, rate)))
        self._render(f"{path}.png", lambda file: mel_picture(sound, rate, file))

    def figure(self, step: int, name: str, figure: "Figure") -> None:
        """Log a matplotlib figure, which must not be changed any more."""
        self._render(f"figures/{metric_name(name)}/step_{step:08d}.png", lambda file: figure.savefig(file, dpi=100))

    def text(self, path: str, text: str) -> None:
        """Log a text file."""
        self._render(path, lambda file: file.write_text(redact(text)))

    def json(self, path: str, value: Any) -> None:
        """Log plain values as a JSON file."""
        self.text(path, json.dumps(value, indent=2))

    def close(self, status: str | None = "FINISHED", patience: float = 20.0) -> None:
        """Send what is left and end the run (not with status None), for at most about `patience` seconds."""
        self._status, self._deadline = status, time.monotonic() + patience
        self._closing.set()
        self._thread.join(patience + 1)
        with self._lock:
            left, self._records = self._records, []
        if self._thread.is_alive():
            left = [*self._sending, *left]  # whether they arrived is not known; to send them twice does no harm
        self.outbox.keep(left)
        if not self.outbox.empty:
            log.warning(
                "MLflow at %s is still away: what it has not got is kept in %s and is sent when the run goes on here.",
                redact(self.handle.tracking_uri), self.outbox.folder,
            )  # fmt: skip
        elif not self._ended:
            log.warning("MLflow at %s did not learn that the run ended.", redact(self.handle.tracking_uri))
        self.outbox.clear()

    def _render(self, path: str, write: Callable[[Path], Any]) -> None:
        with self._lock:
            self._renderings.pop(path, None)
            self._renderings[path] = write
            dropped = next(iter(self._renderings)) if len(self._renderings) > RENDERINGS else None
            if dropped:
                del self._renderings[dropped]
        if dropped:
            log.warning("Too many artifacts at once: %s is not logged.", dropped)

    def _live(self) -> None:
        pause = BEAT_SECONDS
        while True:
            closing = self._closing.wait(pause)
            self._sample()
            delivered = self._deliver(closing)
            if closing and (delivered or time.monotonic() > self._deadline):
                return
            pause = BEAT_SECONDS if delivered else min(2 * pause, LONGEST_PAUSE)
            if closing:
                time.sleep(0.5)

    def _sample(self) -> None:
        values = self._machine.sample()
        if values:
            now, step = int(time.time() * 1000), self._step
            with self._lock:
                self._records += [Record(f"system/{key}", value, now, step) for key, value in values.items()]

    def _deliver(self, closing: bool) -> bool:
        """Send all there is; on any failure keep it and return False."""
        with self._lock:
            self._sending, self._records = self._records, []
            renderings, self._renderings = self._renderings, {}
        for path, write in renderings.items():
            try:
                self.outbox.put(path, write)
            except Exception as error:
                log.warning("Cannot log %s: %s", path, brief(error))
        try:
            kept = self._send(closing)
        except Exception as error:
            self.outbox.keep(self._sending)
            self._sending = []
            self._tell_away(error)
            return False
        self._tell_back(kept)
        return True

    def _send(self, closing: bool) -> int:
        """Send what was kept, then what is new, then files; returns how many metrics had been kept."""
        client, run_id, count = registry.client(self.handle.tracking_uri), self.handle.run_id, 0
        while kept := self.outbox.take():
            send_metrics(client, run_id, kept)
            self.outbox.forget()
            count += len(kept)
        send_metrics(client, run_id, self._sending)
        self._sending = []
        for path, file in self.outbox.files():
            client.log_artifact(run_id, str(file), str(Path(path).parent) if "/" in path else None)
            file.unlink()
        if closing and self._status:
            client.set_terminated(run_id, self._status)
        self._ended = closing
        return count

    def _tell_away(self, error: Exception) -> None:
        if self._away is None:
            self._away = why(error)
            log.warning(
                "MLflow at %s does not take the metrics (%s); they are kept in %s until it does.",
                redact(self.handle.tracking_uri), self._away, self.outbox.folder,
            )  # fmt: skip

    def _tell_back(self, kept: int) -> None:
        if self._away is not None:
            self._away = None
            log.warning("MLflow at %s is back; it got the %d metrics kept.", redact(self.handle.tracking_uri), kept)
