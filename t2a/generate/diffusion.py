"""Text to audio with latent diffusion: noise to latents, latents to a spectrogram, a spectrogram to a wave."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a.conditions.encoders import Encoders
from t2a.diffusion.editing import resample, steps_of
from t2a.diffusion.guidance import Guidance, guided
from t2a.diffusion.noise import Noise
from t2a.diffusion.samplers import check, sample
from t2a.errors import CheckpointError, ConfigError
from t2a.generate.editing import FADE_SECONDS, Given, begun
from t2a.generate.parts import with_encoders
from t2a.generate.precision import quicken
from t2a.generate.request import check_guidance, check_latents, check_rows, check_seconds, clip_samples
from t2a.generate.settings import DiffusionSettings
from t2a.generate.sounding import finished
from t2a.generate.telling import check_melody, told
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.denoiser import Denoiser, DenoiserConfig
from t2a.models.pretrained import config_of
from t2a.models.vocoder import GriffinLim, Vocoder, load_vocoder
from t2a.nn.condition import Condition
from t2a.nn.packed import Precision

if TYPE_CHECKING:
    from t2a.generate.loading import Progress, Sound


class DiffusionGenerator:
    """A denoiser with its encoders, its autoencoder and a vocoder; see `t2a.generate.loading.Generator`.

    Raises `CheckpointError` for parts that do not fit each other.
    """

    settings, kind = DiffusionSettings, "latents"

    def __init__(
        self,
        model: Denoiser,
        autoencoder: Autoencoder,
        vocoder: Vocoder | GriffinLim,
        encoders: Encoders,
        device: torch.device | str = "cpu",
    ):
        check_latents(model, autoencoder, vocoder.mel_spec)
        self.device = torch.device(device)
        self.model, self.autoencoder, self.vocoder = (
            part.to(self.device).eval() for part in (model, autoencoder, vocoder)
        )
        self.encoders = encoders
        self.process = model.config.process.build()

    @classmethod
    def check_job(cls, folder: Path, seconds: float, settings: Mapping[str, Any]) -> None:
        """Refuse what the configs of the model and of its autoencoder tell cannot be made."""
        how, model = DiffusionSettings.read(settings), config_of(folder, Denoiser.model_type, DenoiserConfig)
        autoencoder = config_of(folder / "autoencoder", Autoencoder.model_type, AutoencoderConfig)
        check(how.sampler, model.process.build(), steps=how.steps, **how.options())
        clip_samples(seconds, autoencoder.sample_rate)
        check_seconds(seconds, model.max_frames / autoencoder.frame_rate)

    @classmethod
    def from_folder(
        cls, folder: Path, device: torch.device | str = "cpu", precision: Precision = "float32"
    ) -> "DiffusionGenerator":
        """Load what `t2a.tasks.denoiser` exported; `precision` is that of the denoiser's weights."""
        model, encoders = with_encoders(Denoiser, folder, "autoencoder", device)
        autoencoder = Autoencoder.from_pretrained(folder / "autoencoder")
        generator = cls(model, autoencoder, vocoder_of(folder, autoencoder), encoders, device)
        quicken(generator.model, generator.device, precision)
        return generator

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.autoencoder.sample_rate

    @property
    def frame_rate(self) -> float:
        """Frames of latents a second."""
        return self.autoencoder.frame_rate

    @property
    def max_seconds(self) -> float:
        """The longest clip that the model was trained on."""
        return self.model.config.max_frames / self.frame_rate

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[str],
        seconds: float,
        *,
        seeds: Sequence[int],
        guidance: float = 3.0,
        melody: "Sound | None" = None,
        beginning: "Sound | None" = None,
        progress: "Progress | None" = None,
        **settings: Any,
    ) -> list[NDArray[np.float32]]:
        """Make one clip [1, round(seconds * rate)] for each prompt."""
        how = DiffusionSettings.read(settings)
        check_rows(prompts, seeds)
        check_guidance(guidance)
        samples = self._samples(seconds, melody)
        frames, hop = self.frames(samples), round(self.sample_rate / self.frame_rate)
        known = beginning and begun(beginning, self.sample_rate, samples, hop)
        given = known and known.given(self.autoencoder, frames)
        options = {"melody": melody, "given": given, "progress": progress}
        waves = self.waves(self.latents(prompts, frames, seeds, guidance, how, **options))[:, :, :samples]
        laid = [known.laid(wave, round(FADE_SECONDS * self.sample_rate)) for wave in waves] if known else waves
        return [finished(wave, prompt) for wave, prompt in zip(laid, prompts, strict=True)]

    def stream(self, prompt: str, seconds: float, **_: Any) -> Iterator[NDArray[np.float32]]:
        """Refuse: all of a clip is made at once."""
        raise ConfigError(
            "A diffusion model cannot give a clip in pieces, it makes all of it at once: ask for the whole clip, or "
            "take a language model."
        )

    @torch.inference_mode()
    def sound(self, frames: Tensor) -> NDArray[np.float32]:
        """Decode latents [C, (F,) L] to a wave [1, T]."""
        return self.waves(frames[None].float().to(self.device))[0].numpy()

    @torch.inference_mode()
    def waves(self, latents: Tensor) -> Tensor:
        """Decode latents [B, C, (F,) L] to waves [B, 1, T] on the CPU."""
        return self.vocoder(self.autoencoder.decode(latents)).float().cpu()

    @torch.inference_mode()
    def latents(
        self,
        prompts: Sequence[str],
        frames: int,
        seeds: Sequence[int],
        guidance: float,
        how: DiffusionSettings,
        *,
        melody: "Sound | None" = None,
        given: Given | None = None,
        strength: float = 1.0,
        progress: "Progress | None" = None,
    ) -> Tensor:
        """Sample standardised latents [B, C, (F,) L], one for each prompt and seed.

        With a guidance other than 0 and 1 every step reads the rows twice, with and without conditions. Sampling sets
        out from what is `given`, by the share `strength` of the way to noise; what of it is to be kept is kept.
        """
        options = {"steps": how.steps, **how.options()}
        check(how.sampler, self.process, **options)
        conditions = told(self.encoders, prompts, melody, guidance, self.device)
        gamma = guidance if conditions else 0.0
        noise = Noise(seeds, self.model.config.latent, [frames] * len(seeds), device=self.device)
        network = self._network(conditions, len(seeds), frames, Guidance(gamma, how.rescale), given)
        if given is None:
            steps = sample(how.sampler, self.process, network, noise, **options)
        else:
            edit = {"strength": strength, "keep": given.keep.to(self.device)}
            steps = resample(how.sampler, self.process, network, noise, given.latent.to(self.device), **edit, **options)
        found, count = torch.empty(0), steps_of(how.steps, strength)
        for done, x in enumerate(steps, start=1):
            found = x
            if progress is not None:
                progress(done, count)
        if not torch.isfinite(found).all():
            raise CheckpointError("The model predicts NaN, its weights are broken: use another checkpoint.")
        return found

    def _network(
        self,
        conditions: dict[str, Condition] | None,
        rows: int,
        frames: int,
        guidance: Guidance,
        given: Given | None,
    ) -> Any:
        """Return the guided network x_t [B, C, (F,) L], t [B] -> prediction, which has read the conditions."""
        passes = len(guidance.told)
        length = torch.full((rows,), frames, device=self.device)
        unseen = torch.tensor(guidance.told, device=self.device).logical_not().repeat_interleave(rows)
        every = {
            name: Condition(c.tokens.repeat(passes, 1, 1), c.mask.repeat(passes, 1))
            for name, c in (conditions or {}).items()
        }
        context = self.model.read(every, passes * rows, dict.fromkeys(every, unseen))
        # A packed network may have no parameters left.
        dtype, extra = next((part.dtype for part in self.model.parameters()), torch.float32), None
        if given is not None and self.model.config.extra_channels:
            extra = given.seen().to(self.device, dtype).expand(passes * rows, *[-1] * (given.latent.ndim - 1))
        return guided(lambda x, t: self.model.predict(x.to(dtype), t, None, context, extra), guidance, length)

    def _samples(self, seconds: float, melody: "Sound | None") -> int:
        """Return the samples of a clip, or refuse what cannot be made, before any work."""
        check_melody(self.encoders, melody)
        samples = clip_samples(seconds, self.sample_rate)
        check_seconds(seconds, self.max_seconds)
        return samples

    def frames(self, samples: int) -> int:
        """Count the latent frames of a clip: as many as its own spectrogram would have, within what is trained."""
        mel = self.autoencoder.config.mel
        whole = max(int(mel.frames(torch.tensor(samples))), -(-samples // mel.hop))
        return min(self.autoencoder.latent_length(whole), self.model.config.max_frames)


def vocoder_of(folder: Path, autoencoder: Autoencoder) -> Vocoder | GriffinLim:
    """Load the vocoder beside a denoiser; without one Griffin-Lim takes its place, which is said aloud."""
    if (folder / "vocoder").exists():
        return load_vocoder(folder / "vocoder").fold()
    warnings.warn(
        f"{folder} has no vocoder: Griffin-Lim takes its place, which sounds metallic; train one and export it beside",
        stacklevel=3,
    )
    return GriffinLim(autoencoder.config.mel)
