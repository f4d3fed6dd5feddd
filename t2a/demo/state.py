"""Which stages of a demo are finished, what they found out and how long they took."""

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

Facts = dict[str, Any]


class State:
    """Finished stages in `<folder>/state.json`; a stage runs again when its inputs or what it needs changed."""

    def __init__(self, folder: Path, console: Console):
        self.path = folder / "state.json"
        self.console = console
        self.stages: dict[str, Facts] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def run(self, name: str, inputs: Any, work: Callable[[], Facts], needs: Iterable[str] = ()) -> Facts:
        """Facts of stage `name`: remembered, or found by `work()` and then remembered.

        needs: finished stages that it builds on. An interruption between two stages does not make it forget that the
        first one ran again, as the key holds which making of each it was.
        """
        given = [inputs, {need: self.stages[need]["made"] for need in needs}]
        key = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()[:16]
        known = self.stages.get(name)
        if known and known["key"] == key:
            self.console.print(f"[green]✓[/] {name}: done before, in {known['seconds']:.0f} s")
            return known["facts"]
        self.console.print(f"[bold]→ {name}[/]")
        start = time.perf_counter()
        facts = work()
        seconds = time.perf_counter() - start
        self.stages[name] = {"key": key, "made": uuid.uuid4().hex, "seconds": seconds, "facts": facts}
        self.save()
        self.console.print(f"[green]✓[/] {name}: {seconds:.0f} s")
        return facts

    def seconds(self) -> dict[str, float]:
        """How long each finished stage took."""
        return {name: stage["seconds"] for name, stage in self.stages.items()}

    def save(self) -> None:
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.stages, indent=2))
        temporary.replace(self.path)
