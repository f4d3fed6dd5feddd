import os
import signal
import time

import pytest
import ray

from t2a.errors import DataError
from t2a.train.board import hang

pytestmark = pytest.mark.ray


def test_a_board_tells_news_and_when_to_end_and_outlives_its_process(local_ray) -> None:
    board = hang("board", 3)
    ray.get(board.tell.remote(5, {"loss": 1.0}))
    ray.get(board.fail.remote(DataError("no rows")))
    notice = ray.get(board.read.remote())
    assert (notice.step, notice.metrics, str(notice.failure)) == (5, {"loss": 1.0}, "no rows")

    asked = ray.get_actor("board").asked.remote()
    os.kill(ray.get(board.__ray_call__.remote(lambda self: os.getpid())), signal.SIGKILL)
    time.sleep(0.5)
    assert ray.get(board.read.remote()).step == 3
    assert not ray.wait([asked], timeout=0.5)[0]
    board.end.remote()
    assert ray.wait([asked], timeout=30)[0]
    ray.kill(board)
