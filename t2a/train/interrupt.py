"""Ctrl-C, and the SIGTERM that a cluster sends before it takes a machine: the run is asked to end, then made to."""

import signal
import threading
from collections.abc import Callable
from typing import Any

SIGNALS = signal.SIGINT, signal.SIGTERM


def interruptible(work: Callable[[], Any], ask: Callable[[], None]) -> None:
    """Do `work`; the first signal calls `ask`, upon which the work should end soon, the next is a `KeyboardInterrupt`.

    The work gets a thread of its own, as in the main thread Ray Train replaces the handler of Ctrl-C by one that ends
    a run at once. Called outside the main thread, which has all signals, this is `work()`.
    """
    if threading.current_thread() is not threading.main_thread():
        work()
        return
    failures: list[BaseException] = []
    asked = False

    def body() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    def handle(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        ask()

    thread = threading.Thread(target=body, daemon=True)
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        thread.start()
        while thread.is_alive():
            thread.join(0.2)  # a signal that the system hands to another thread does not wake this one
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if failures:
        raise failures[0]
