"""Text to audio with a language model over codes."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a.audio.io import check
from t2a.conditions.encoder import Reads, Sounds
from t2a.conditions.encoders import Encoders, EncodersFile
from t2a.errors import CheckpointError, ConfigError
from t2a.models.codec import Codec
from t2a.models.lm import LM
from t2a.nn.condition import Condition
from t2a.tokens.channels import separate
from t2a.tokens.patterns import layout
from t2a.tokens.sampling import guide, sample, uniforms

if TYPE_CHECKING:
    from t2a.generate.loading import Progress, Sound

SILENCE = 1e-3  # peak below which a clip is called silent, -60 dB of full scale


class LMGenerator:
    """A language model, its codec and its encoders; see `t2a.generate.loading.Generator`."""

    def __init__(self, model: LM, codec: Codec, encoders: Encoders, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.model, self.codec, self.encoders = model.to(self.device).eval(), codec.to(self.device).eval(), encoders

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device | str = "cpu") -> "LMGenerator":
        """Load what `t2a.tasks.lm` exported."""
        for part in ("codec", EncodersFile.NAME):
            if not (folder / part).exists():
                raise CheckpointError(f"{folder} has no {part}: a language model needs it beside it, export it again.")
        model = LM.from_pretrained(folder)
        widths = {name: condition.width for name, condition in model.config.conditions.items()}
        encoders = Encoders(EncodersFile.read(folder).encoders, widths, device)
        return cls(model, Codec.from_pretrained(folder / "codec"), encoders, device)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.codec.sample_rate

    @property
    def max_seconds(self) -> float:
        """The longest clip the model was trained on."""
        return self.model.config.max_frames / self.codec.frame_rate

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[str],
        seconds: float,
        *,
        seeds: Sequence[int],
        guidance: float = 3.0,
        temperature: float = 1.0,
        top_k: int = 250,
        top_p: float = 0.0,
        melody: "Sound | None" = None,
        progress: "Progress | None" = None,
    ) -> list[NDArray[np.float32]]:
        """Make one clip [C, round(seconds * rate)] for each prompt."""
        _check(prompts, seeds, guidance, temperature, top_k, top_p)
        if melody is not None and "sounds" not in self.encoders.reads:
            raise ConfigError("This model was trained without melodies: leave the melody out or take another model.")
        samples = self._samples(seconds)
        frames = math.ceil(samples / self.codec.hop)
        codes = self.codes(prompts, frames, seeds, guidance, temperature, top_k, top_p, melody, progress)
        waves = self._decode(codes, samples).cpu()
        return [_finished(wave, prompt) for wave, prompt in zip(waves, prompts, strict=True)]

    @torch.inference_mode()
    def codes(
        self,
        prompts: Sequence[str],
        frames: int,
        seeds: Sequence[int],
        guidance: float,
        temperature: float,
        top_k: int,
        top_p: float,
        melody: "Sound | None" = None,
        progress: "Progress | None" = None,
    ) -> Tensor:
        """Draw codes [B, K, L] int64, one for each prompt and seed.

        With a guidance other than 0 and 1 every step reads the rows twice, with and without text.
        """
        count, codebooks = len(prompts), self.model.config.codebooks
        placed = layout(self.model.config.pattern, codebooks, frames)
        valid = placed.valid().to(self.device)
        numbers = uniforms(seeds, placed.steps, codebooks).to(self.device)
        unguided = guidance == 0 or (melody is None and not any(prompt.strip() for prompt in prompts))
        passes = 1 if unguided or guidance == 1 else 2
        conditions = None if unguided else self._conditions(prompts, melody, passes)
        state = self.model.start(conditions, count * passes, placed.steps)
        column = torch.full((count, codebooks, 1), self.model.special, device=self.device)
        columns = []
        for step in range(placed.steps):
            logits = self.model.advance(column.repeat(passes, 1, 1), state)[:, :, 0]
            if passes == 2:
                logits = guide(logits[:count], logits[count:], guidance)
            drawn = sample(logits, numbers[:, step], temperature, top_k, top_p)
            column = drawn.where(valid[:, step], self.model.special)[..., None]
            columns.append(column)
            if progress is not None:
                progress(step + 1, placed.steps)
        return placed.revert(torch.cat(columns, dim=2))

    def _decode(self, codes: Tensor, samples: int) -> Tensor:
        """Turn codes [B, K, L] into waves [B, C, T]; those of channels coded one by one are interleaved."""
        channels = self.model.config.channels
        return self.codec.decode(separate(codes, channels), samples).unflatten(0, (-1, channels)).flatten(1, 2)

    def _conditions(self, prompts: Sequence[str], melody: "Sound | None", passes: int) -> dict[str, Condition]:
        """What the model is told of each prompt; with two passes, followed by as many rows that are told nothing."""
        parts: dict[Reads, Any] = {"captions": prompts}
        if melody is not None:
            parts["sounds"] = _repeated(melody, len(prompts))
        told = self.encoders(parts)
        if passes == 1:
            return told
        return {
            name: Condition(tokens.repeat(2, 1, 1), torch.cat([mask, torch.zeros_like(mask)]))
            for name, (tokens, mask) in told.items()
        }

    def _samples(self, seconds: float) -> int:
        """The length of a clip, if there can be one."""
        longest = self.max_seconds
        if not (math.isfinite(seconds) and seconds > 0):
            raise ConfigError(f"A clip of {seconds} s cannot be made: ask for more than 0 and at most {longest:g} s.")
        if seconds > longest:
            raise ConfigError(f"{seconds:g} s is longer than the {longest:g} s of this model: ask for less.")
        samples = round(seconds * self.sample_rate)
        if samples == 0:
            raise ConfigError(f"{seconds:g} s is less than one sample at {self.sample_rate} Hz: ask for more.")
        return samples


def _check(
    prompts: Sequence[str], seeds: Sequence[int], guidance: float, temperature: float, top_k: int, top_p: float
) -> None:
    """Refuse settings that mean nothing, before any work."""
    if isinstance(prompts, str) or not prompts:
        raise ConfigError("There is no prompt: give a list with at least one (it may be empty text).")
    if len(seeds) != len(prompts):
        raise ConfigError(f"There are {len(prompts)} prompts but {len(seeds)} seeds: give one seed for each.")
    if not all(0 <= seed < 2**63 for seed in seeds):
        raise ConfigError(f"The seeds {list(seeds)} must lie between 0 and 2^63 - 1.")
    for name, value, low, high in (
        ("guidance", guidance, 0, 100),
        ("temperature", temperature, 0, 100),
        ("top_k", top_k, 0, math.inf),
        ("top_p", top_p, 0, 1),
    ):
        if not low <= value <= high:  # also when it is not a number
            limits = f"between {low} and {high}" if math.isfinite(high) else f"{low} or more"
            raise ConfigError(f"{name} is {value}; it must be {limits}.")


def _repeated(sound: "Sound", rows: int) -> Sounds:
    """Give every row the same sound."""
    wave, rate = sound
    check(wave, "The melody")
    waves = torch.from_numpy(wave).expand(rows, -1, -1)
    return Sounds(waves, torch.full((rows,), wave.shape[1]), rate)


def _finished(wave: Tensor, prompt: str) -> NDArray[np.float32]:
    """Scale a wave [C, T] down if it would clip; say so if nothing is to be heard."""
    if not torch.isfinite(wave).all():
        raise CheckpointError(f"The clip for {prompt!r} is not finite, the model is broken: use another checkpoint.")
    peak = float(wave.abs().max())
    if peak < SILENCE:
        warnings.warn(f"the clip for {prompt!r} is silent (peak {peak:.1e}): try another seed", stacklevel=3)
    return (wave / max(peak, 1.0)).numpy()
