"""Precompute what condition encoders make of a corpus."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from t2a.conditions.encoder import Sounds
from t2a.conditions.encoders import EncoderConfig
from t2a.data.states import StatesColumn, column, pack_states
from t2a.errors import ConfigError


class StateEncoder:
    """Runs encoders, by the condition's name, over rows; `columns` describes what comes of it.

    Raises `ConfigError` for one that cannot be loaded.
    """

    def __init__(self, configs: Mapping[str, EncoderConfig], device: torch.device | str = "cpu"):
        self._encoders = {name: config.build(device) for name, config in configs.items()}
        self.columns = {
            name: StatesColumn(
                encoder=config.model_dump(mode="json"),
                fingerprint=config.fingerprint(),
                reads=config.reads,
                width=self._encoders[name].width,
                rate=config.rate,
            )
            for name, config in configs.items()
        }

    def __call__(
        self, captions: Sequence[Sequence[str]], waves: Sequence[NDArray[np.float32]], rate: int
    ) -> list[dict[str, Any]]:
        """Make the columns of rows, from all captions of each and from their waves [C, T] at `rate`."""
        rows: list[dict[str, Any]] = [{} for _ in waves]
        sounds = None
        for name, made in self.columns.items():
            if made.reads == "captions":
                items = self._packed(name, [caption for own in captions for caption in own])
                for row, own in zip(rows, captions, strict=True):
                    row[column(name)], items = items[: len(own)], items[len(own) :]
            else:
                sounds = sounds or together(waves, rate)
                for row, item in zip(rows, self._packed(name, sounds), strict=True):
                    row[column(name)] = [item]
        return rows

    def _packed(self, name: str, inputs: Any) -> list[bytes]:
        """Encode inputs, each as an item of a cell."""
        tokens, mask = (part.cpu() for part in self._encoders[name](inputs))
        try:
            return [pack_states(states[real].numpy()) for states, real in zip(tokens, mask, strict=True)]
        except ValueError as error:
            raise ConfigError(f"The states of the encoder {name} cannot be stored: {error}.") from error


def together(waves: Sequence[NDArray[np.float32]], rate: int) -> Sounds:
    """Put waves [C, T_i] into one batch."""
    longest = max((wave.shape[1] for wave in waves), default=0)
    batch = np.zeros((len(waves), waves[0].shape[0] if waves else 1, longest), np.float32)
    for row, wave in zip(batch, waves, strict=True):
        row[:, : wave.shape[1]] = wave
    return Sounds(torch.from_numpy(batch), torch.tensor([wave.shape[1] for wave in waves]), rate)
