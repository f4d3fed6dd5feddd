"""Sound that a diffusion model is given: what it sets out from, and what of it stays as it is."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a.audio.io import check
from t2a.audio.transform import resample, to_mono
from t2a.diffusion.masks import beside
from t2a.errors import ConfigError
from t2a.generate.request import check_guidance, check_rows, check_seconds
from t2a.generate.settings import DiffusionSettings
from t2a.generate.sounding import finished
from t2a.models.autoencoder import Autoencoder

if TYPE_CHECKING:
    from t2a.generate.diffusion import DiffusionGenerator
    from t2a.generate.loading import Progress, Sound

FADE_SECONDS = 0.01  # within what is new, from what was there and back


class Given(NamedTuple):
    """Latents that sampling sets out from."""

    latent: Tensor
    """[1, C, (F,) L]"""
    keep: Tensor
    """bool [1, 1, (1,) L], frames that are to end as they are"""

    def seen(self) -> Tensor:
        """What a model that was trained to fill gaps reads beside noise: kept latents and mask, [1, C + 1, (F,) L]."""
        return beside(self.latent, self.keep)


class Known(NamedTuple):
    """A wave that a clip begins with, or is; all of it but a span stays as it is, sample by sample."""

    wave: Tensor
    """[1, T] at the model's rate, within [-1, 1]"""
    start: int
    end: int
    """of what is new, in samples; it may lie beyond the wave"""

    def given(self, autoencoder: Autoencoder, frames: int) -> Given:
        """Encode the wave as the first of so many frames; those that lie wholly outside the span are kept."""
        like = next(autoencoder.parameters())
        found = autoencoder.encode(autoencoder.mel(self.wave[None].to(like.device)))[..., :frames]
        latent = found.new_zeros(*found.shape[:-1], frames)
        latent[..., : found.shape[-1]] = found
        size = autoencoder.factor * autoencoder.config.mel.hop
        first = torch.arange(frames, device=found.device) * size
        keep = ((first + size <= self.start) | (first >= self.end)) & (first < self.wave.shape[1])
        return Given(latent, keep.view(1, *[1] * (latent.ndim - 2), frames))

    def laid(self, made: Tensor, fade: int) -> Tensor:
        """Lay what was made, [1, T], into the span, faded in and out over `fade` samples of the wave below."""
        made = made / max(1.0, float(made.abs().max()))  # by itself: what stays must not be turned down
        below = torch.zeros_like(made)
        below[:, : self.wave.shape[1]] = self.wave[:, : made.shape[1]]
        share = self._new(made.shape[1], max(1, min(fade, (self.end - self.start) // 2)))
        return torch.where(share > 0, share * made + (1 - share) * below, below)

    def _new(self, samples: int, fade: int) -> Tensor:
        """Share of what is new in each sample, [T]: 0 outside the span, rising where something stays beside it."""
        place = torch.arange(samples)
        since, until = place - self.start + 1, self.end - place
        if self.start == 0:
            since = since.clamp_min(fade)
        if self.end >= self.wave.shape[1]:
            until = until.where(until <= 0, fade)
        return torch.minimum(since, until).clamp(0, fade) / fade


def begun(sound: "Sound", rate: int, samples: int, frame: int) -> Known:
    """Bring the beginning of a clip of `samples` to a rate; its last instant fades over into what is new.

    frame: samples of a frame of latents. Raises `ConfigError` for one that is shorter than that or not shorter than the
    clip, and what `heard` raises.
    """
    wave = heard(sound, rate, "The audio to continue")
    length, seconds = wave.shape[1], wave.shape[1] / rate
    if length >= samples:
        told = f"The audio to continue is {seconds:g} s, but must be shorter than the {samples / rate:g} s of the clip"
        raise ConfigError(f"{told}: ask for more seconds, all in all.")
    fade = round(FADE_SECONDS * rate)
    if length < frame + fade:
        least = (frame + fade) / rate
        raise ConfigError(f"The audio to continue is {seconds:g} s, less than {least:g} s: give more of it.")
    return Known(wave, length - fade, samples)


def heard(sound: "Sound", rate: int, what: str) -> Tensor:
    """Bring a sound to a rate, mono, [1, T]. Raises `ConfigError` or `DataError` for what is none; `what` names it."""
    wave, given = sound
    if wave.ndim != 2 or given <= 0:
        raise ConfigError(f"{what} must be a wave [C, T] at a rate above 0, not {list(wave.shape)} at {given} Hz.")
    check(wave, what)
    return torch.from_numpy(np.clip(resample(to_mono(wave), given, rate), -1, 1))


@torch.inference_mode()
def edit(
    generator: "DiffusionGenerator",
    sound: "Sound",
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    strength: float | None = None,
    span: tuple[float, float] | None = None,
    guidance: float = 3.0,
    progress: "Progress | None" = None,
    **settings: Any,
) -> list[NDArray[np.float32]]:
    """Make each prompt's version [1, T] of a sound, as long as it.

    All of it is drawn nearer to the prompt, the further the higher the `strength` (0.5 by default, at most 1: SDEdit).
    With a `span` in seconds what lies within is made anew (strength 1 by default), and all else stays as it is, sample
    by sample. Raises `ConfigError` for what cannot be met.
    """
    how, rate = DiffusionSettings.read(settings), generator.sample_rate
    check_rows(prompts, seeds)
    check_guidance(guidance)
    wave = heard(sound, rate, "The sound to edit")
    samples = wave.shape[1]
    check_seconds(samples / rate, generator.max_seconds)
    if not samples:
        raise ConfigError(f"The sound to edit is less than one sample at {rate} Hz: give more of it.")
    start, end = (0, samples) if span is None else _samples(span, rate)
    if not 0 <= start < end <= samples:
        raise ConfigError(f"The span {span} does not lie within the {samples / rate:g} s of the sound: begin before it "
                          "ends, and stay inside.")  # fmt: skip
    known, frames = Known(wave, start, end), generator.frames(samples)
    given = known.given(generator.autoencoder, frames)
    strength = strength if strength is not None else 0.5 if span is None else 1.0
    options = {"given": given, "strength": strength, "progress": progress}
    made = generator.waves(generator.latents(prompts, frames, seeds, guidance, how, **options))[:, :, :samples]
    fade = round(FADE_SECONDS * rate)
    laid = made if span is None else [known.laid(version, fade) for version in made]
    return [finished(version, prompt) for version, prompt in zip(laid, prompts, strict=True)]


def _samples(span: tuple[float, float], rate: int) -> tuple[int, int]:
    """Return the first sample of a span in seconds and the one after its last; -1 for what is no number of them."""
    start, end = (round(second * rate) if math.isfinite(second) else -1 for second in span)
    return start, end
