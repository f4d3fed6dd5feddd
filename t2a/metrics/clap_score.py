"""How well sounds fit their captions, by the cosines that a CLAP gives (Huang et al., Make-An-Audio, 2023)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ClapScore(NamedTuple):
    """Of each of N sounds the mean cosine with the captions that are its own, and with all others."""

    own: NDArray[np.float64]
    others: NDArray[np.float64]

    @property
    def gain(self) -> NDArray[np.float64]:
        """What the right captions are worth against others, [N]: a CLAP that finds everything alike gives 0."""
        return self.own - self.others


def clap_score(similarity: NDArray[np.floating], right: NDArray[np.bool_]) -> ClapScore:
    """Compare each sound's own captions with the others, which stand for all ways of shuffling them.

    similarity: cosines [N, M] of sounds and captions; right: which captions are a sound's own. Raises `ValueError`
    where a sound has none of either kind.
    """
    if not (right.any(1) & ~right.all(1)).all():
        raise ValueError("a CLAP score needs captions that are a sound's own and captions that are not")
    cosines = similarity.astype(np.float64)
    return ClapScore(*((cosines * chosen).sum(1) / chosen.sum(1) for chosen in (right, ~right)))
