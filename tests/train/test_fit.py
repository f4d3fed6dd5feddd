"""The driver's side of a run; whole runs are in tests/cluster."""

import signal
import sys

import pytest

from t2a.train.fit import interruptible


def test_an_interrupted_training_ends_as_ctrl_c_does_and_leaves_no_handler_behind():
    def ray_train() -> None:
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        ray_train()
    assert signal.getsignal(signal.SIGINT) is before


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="no"), interruptible():
        raise RuntimeError("no")
