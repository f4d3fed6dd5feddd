"""Text to audio with a language model over codes: whole clips, or piece by piece while they are made."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2a.conditions.encoders import Encoders
from t2a.errors import ConfigError
from t2a.generate.continuation import prompt_codes
from t2a.generate.parts import with_encoders
from t2a.generate.precision import quicken
from t2a.generate.request import check_codec, check_memory, check_rows, clip_samples
from t2a.generate.session import Session
from t2a.generate.settings import LMSettings
from t2a.generate.sliding import OVERLAP, slide, spans, steps
from t2a.generate.sounding import Output, decode, decoder, finished, gathered, sounds
from t2a.generate.telling import check_melody, told
from t2a.models.codec import Codec, CodecConfig
from t2a.models.lm import LM
from t2a.models.pretrained import config_of
from t2a.nn.packed import Precision
from t2a.tokens.sampling import Sampling

if TYPE_CHECKING:
    from t2a.generate.loading import Progress, Sound

PIECE_SECONDS = 0.2  # of sound that a stream gives at a time, or a little more


class LMGenerator:
    """A language model, its codec and its encoders; see `t2a.generate.loading.Generator`.

    Raises `CheckpointError` for a codec that is not the model's.
    """

    settings, kind = LMSettings, "codes"

    def __init__(self, model: LM, codec: Codec, encoders: Encoders, device: torch.device | str = "cpu"):
        check_codec(model, codec)
        self.device = torch.device(device)
        self.model, self.encoders = model.to(self.device).eval(), encoders
        self.codec = codec.to(self.device).eval().fold()

    @classmethod
    def check_job(cls, folder: Path, seconds: float, settings: Mapping[str, Any]) -> None:
        """Refuse what the config of the codec tells cannot be made."""
        LMSettings.read(settings)
        clip_samples(seconds, config_of(folder / "codec", Codec.model_type, CodecConfig).sample_rate)

    @classmethod
    def from_folder(
        cls, folder: Path, device: torch.device | str = "cpu", precision: Precision = "float32"
    ) -> "LMGenerator":
        """Load what `t2a.tasks.lm` exported; `precision` is that of the model's weights."""
        model, encoders = with_encoders(LM, folder, "codec", device)
        generator = cls(model, Codec.from_pretrained(folder / "codec"), encoders, device)
        quicken(generator.model, generator.device, precision)
        return generator

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.codec.sample_rate

    @property
    def frame_rate(self) -> float:
        """Frames of codes a second."""
        return self.codec.frame_rate

    @property
    def max_seconds(self) -> float:
        """The longest clip the model was trained on: its window. Longer ones are made window by window."""
        return self.model.config.max_frames / self.codec.frame_rate

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
        """Make one clip [C, round(seconds * rate)] for each prompt."""
        drawing = LMSettings.read(settings)
        sampling = Sampling(guidance, drawing.temperature, drawing.top_k, drawing.top_p)
        check_rows(prompts, seeds)
        samples = self._samples(seconds, len(prompts), melody)
        frames = math.ceil(samples / self.codec.hop)
        given = self._given(beginning, frames)
        codes = self.codes(
            prompts, frames, seeds, sampling, melody=melody, given=given, overlap=drawing.overlap, progress=progress
        )
        waves = decode(self.codec, codes, samples, self.model.config.channels)
        return [finished(wave, prompt) for wave, prompt in zip(waves, prompts, strict=True)]

    def stream(
        self,
        prompt: str,
        seconds: float,
        *,
        seed: int,
        guidance: float = 3.0,
        melody: "Sound | None" = None,
        beginning: "Sound | None" = None,
        **settings: Any,
    ) -> Iterator[NDArray[np.float32]]:
        """Make the clip of `generate` in pieces [C, n], each as soon as its codes are there."""
        drawing = LMSettings.read(settings)
        sampling = Sampling(guidance, drawing.temperature, drawing.top_k, drawing.top_p)
        check_rows([prompt], [seed])
        samples = self._samples(seconds, 1, melody)
        decoding = decoder(self.codec)  # refuses before any work, which the generator below could not
        frames = math.ceil(samples / self.codec.hop)
        given = self._given(beginning, frames)
        at_once = max(1, round(PIECE_SECONDS * self.codec.frame_rate))

        @torch.inference_mode()
        def pieces() -> Iterator[NDArray[np.float32]]:
            output = Output(prompt, self.sample_rate)
            made, _ = self._made([prompt], frames, [seed], sampling, melody, given, drawing.overlap)
            for wave in sounds(decoding, gathered(made, at_once), samples, self.model.config.channels):
                yield output.next(wave[0])
            output.finish()

        return pieces()

    @torch.inference_mode()
    def sound(self, frames: Tensor) -> NDArray[np.float32]:
        """Decode codes [K, L] of which the model takes the first, to a wave [C, T]."""
        codes = frames[None, : self.model.config.codebooks].to(self.device)
        return decode(self.codec, codes, codes.shape[2] * self.codec.hop, self.model.config.channels)[0].numpy()

    @torch.inference_mode()
    def codes(
        self,
        prompts: Sequence[str],
        frames: int,
        seeds: Sequence[int],
        sampling: Sampling,
        *,
        melody: "Sound | None" = None,
        given: Tensor | None = None,
        overlap: float = OVERLAP,
        progress: "Progress | None" = None,
    ) -> Tensor:
        """Draw codes [B, K, L] int64, one for each prompt and seed; all begin with the codes `given` [1, K, P].

        With a guidance other than 0 and 1 every step reads the rows twice, with and without conditions.
        """
        made, count = self._made(prompts, frames, seeds, sampling, melody, given, overlap)
        pieces = []
        for done, fresh in enumerate(made):
            pieces.append(fresh)
            if progress is not None and done:
                progress(done, count)
        return torch.cat(pieces, dim=2)

    def _made(
        self,
        prompts: Sequence[str],
        frames: int,
        seeds: Sequence[int],
        sampling: Sampling,
        melody: "Sound | None",
        given: Tensor | None,
        overlap: float,
    ) -> tuple[Iterator[Tensor], int]:
        """Yield what is given, then step by step the frames [B, K, n] that are new; and how many steps there are."""
        if given is None:
            given = torch.zeros(1, self.model.config.codebooks, 0, dtype=torch.int64, device=self.device)
        given = given.expand(len(prompts), -1, -1)
        planned = spans(given.shape[2], frames, self.model.config.max_frames, overlap)
        conditions = told(self.encoders, prompts, melody, sampling.guidance, self.device)
        session = Session(self.model, conditions, seeds, sampling)
        return chain([given], slide(session, given, planned)), steps(self.model, planned)

    def _samples(self, seconds: float, rows: int, melody: "Sound | None") -> int:
        """Return the samples of a clip, or refuse what cannot be made, before any work."""
        check_melody(self.encoders, melody)
        if melody is not None and seconds > self.max_seconds:
            longest = f"the {self.max_seconds:g} s of this model"
            raise ConfigError(f"{seconds:g} s with a melody is longer than {longest}: ask for less.")
        samples, codec = clip_samples(seconds, self.sample_rate), self.codec
        codes = 8 * codec.codebooks / codec.hop
        needed = 2 * rows * self.model.config.channels * samples * (codes + 4 * codec.channels)  # in pieces, and joined
        check_memory(needed, rows, seconds)
        return samples

    @torch.inference_mode()
    def _given(self, beginning: "Sound | None", frames: int) -> Tensor | None:
        config = self.model.config
        if beginning is None:
            return None
        books = config.codebooks // config.channels
        return prompt_codes(self.codec, *beginning, config.max_frames, frames, config.channels, books)
