import signal
import sys
import threading

import pytest

from t2a.train.interrupt import SIGNALS, interruptible


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_asks_and_what_the_work_then_raises_is_raised(number: int) -> None:
    asked = threading.Event()

    def work() -> None:
        signal.raise_signal(number)
        assert asked.wait(10)
        raise RuntimeError("saved and left")

    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(RuntimeError, match="saved and left"):
        interruptible(work, asked.set)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_the_second_signal_does_not_wait() -> None:
    asked, never = threading.Event(), threading.Event()

    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        assert asked.wait(10)
        signal.raise_signal(signal.SIGINT)
        never.wait(60)

    with pytest.raises(KeyboardInterrupt):
        interruptible(work, asked.set)
    never.set()


def test_work_that_would_put_a_handler_of_its_own_in_place_does_not_get_to() -> None:
    def ray_train() -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, lambda *_: sys.exit(0))

    handled = []
    interruptible(lambda: (ray_train(), signal.raise_signal(signal.SIGINT)), lambda: handled.append("asked"))
    assert handled == ["asked"]


def test_outside_the_main_thread_it_only_works() -> None:
    done = []
    thread = threading.Thread(target=interruptible, args=(lambda: done.append(threading.current_thread()), list))
    thread.start()
    thread.join()
    assert done == [thread]
