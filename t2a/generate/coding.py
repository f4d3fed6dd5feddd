"""How the codes of a chunk become bytes: packed, or foreseen by an entropy model."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from t2a.errors import ConfigError
from t2a.generate.container import Identity
from t2a.models.codec import Codec
from t2a.models.fixedpoint import INTEGER, IntegerModel
from t2a.models.pretrained import locate, read_config
from t2a.tokens.entropy import RangeCoding
from t2a.tokens.packing import Packing


class Coding(Protocol):
    """Codes to bytes and back, without loss; every chunk by itself."""

    def encode(self, codes: Tensor) -> bytes:
        """Code a chunk int64 [G, K, L]."""

    def decode(self, payloads: Sequence[bytes], shape: tuple[int, int, int]) -> list[Tensor | None]:
        """Return chunks that are all of one shape [G, K, L]; None for bytes that no chunk is coded as."""


def load_coding(entropy: str | None, codec: Codec) -> tuple[Coding, Identity | None]:
    """Load an entropy model that foresees the codec's codes, with its identity; without one, codes are packed.

    Raises `ConfigError` for a model of other codes, `CheckpointError` for a broken one.
    """
    if entropy is None:
        return Packing(codec.bins), None
    folder = locate(entropy)
    kind = read_config(folder).get("model_type")
    if kind != "entropy":
        raise ConfigError(f"{entropy} holds a {kind}, not an entropy model; train one with `task.kind: entropy`.")
    model = IntegerModel.from_pretrained(folder / INTEGER)
    if (model.config.codebooks, model.config.bins) != (codec.codebooks, codec.bins):
        made, found = (f"{a} codebooks of {b}" for a, b in ((model.config.codebooks, model.config.bins),
                                                            (codec.codebooks, codec.bins)))  # fmt: skip
        raise ConfigError(f"{entropy} is made for {made}, the codec has {found}; train an entropy model on its codes.")
    return RangeCoding(model), Identity(where=entropy, fingerprint=fingerprint(model))


def fingerprint(model: nn.Module) -> str:
    """Return 16 hexadecimal digits that change with any weight of a model."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
