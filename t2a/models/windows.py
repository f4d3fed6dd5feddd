"""Cut a signal into windows that overlap, for what must be coded apart: to be sought, lost or computed by itself.

With the context of `t2a.models.streaming.context_frames` a part is coded as in the whole, but for what an LSTM (or a
norm over time) remembers from further away. A stream (`t2a.models.streaming`) loses nothing at all.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]


def windows(pieces: Iterable[Wave], size: int, context: int) -> Iterator[tuple[Wave, int, int]]:
    """Cut a wave that comes in pieces [C, n] into consecutive parts of `size`; the last may be shorter.

    Yields (part with up to `context` samples before and after it, samples before it, samples of the part).
    """
    buffer: Wave | None = None
    lead = 0
    for piece in pieces:
        buffer = piece if buffer is None else np.concatenate([buffer, piece], 1)
        while buffer.shape[1] >= lead + size + context:
            yield np.ascontiguousarray(buffer[:, : lead + size + context]), lead, size
            passed = lead + size - min(context, lead + size)
            buffer, lead = buffer[:, passed:], lead + size - passed
    while buffer is not None and buffer.shape[1] > lead:
        keep = min(size, buffer.shape[1] - lead)
        yield np.ascontiguousarray(buffer[:, : lead + keep + context]), lead, keep
        passed = lead + keep - min(context, lead + keep)
        buffer, lead = buffer[:, passed:], lead + keep - passed
