"""What the demo lets one hear: what each model makes of the same prompts, and copies of held-out clips."""

import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from t2a.audio.io import decode, write
from t2a.audio.transform import resample, to_channels
from t2a.data.shards import read_manifest, read_rows
from t2a.generate import load
from t2a.metrics.signal import mel_distance, si_snr
from t2a.models.autoencoder import Autoencoder
from t2a.models.codec import Codec
from t2a.models.vocoder import load_vocoder

PROMPTS = (
    "A dog barks.",
    "Rain falls steadily.",
    "A helicopter flies by.",
    "A single hit on a snare drum.",
    "An explosion.",
    "A footstep on gravel.",
    "A fire crackles.",
    "A crowd cheers.",
)
WARM_SECONDS = 0.05


class Copier(NamedTuple):
    """What a mono wave [1, 1, T] at a rate in Hz becomes when it is coded and decoded."""

    rate: int
    copy: Callable[[Tensor], Tensor]


def generate_prompts(
    models: Mapping[str, str], folder: Path, seconds: float, guidance: float = 3.0
) -> list[dict[str, Any]]:
    """Let each model make all prompts in one batch, write them to `folder` and say what was made how.

    The clips of all models are equally long; what a model loads when it is first used is no part of its time.
    """
    generators = {name: load(model) for name, model in models.items()}
    seconds = min(seconds, *(generator.max_seconds for generator in generators.values()))
    seeds = list(range(len(PROMPTS)))
    made: list[dict[str, Any]] = [
        {"prompt": prompt, "seed": seed, "seconds": seconds, "guidance": guidance, "clips": {}}
        for prompt, seed in zip(PROMPTS, seeds, strict=True)
    ]
    for name, generator in generators.items():
        generator.generate([PROMPTS[0]], min(seconds, WARM_SECONDS), guidance=guidance, seeds=[0])
        start = time.perf_counter()
        clips = generator.generate(list(PROMPTS), seconds, guidance=guidance, seeds=seeds)
        took = (time.perf_counter() - start) / len(clips)
        for facts, clip in zip(made, clips, strict=True):
            path = folder / f"generated-{name}-{facts['seed']}.wav"
            write(path, clip, generator.sample_rate)
            facts["clips"][name] = {"file": str(path), "took": took}
    return made


@torch.inference_mode()
def reconstruct(models: Mapping[str, str], corpus: str, folder: Path, count: int) -> list[dict[str, Any]]:
    """Copy `count` held-out clips by each of `copiers`; originals and copies lie beside each other."""
    systems, made = copiers(models), []
    # Every n-th clip, as neighbours come out of one package and sound alike.
    there = sum(shard.rows for shard in read_manifest(corpus).of("test"))
    step = max(1, min(12, there // count))
    for index, row in enumerate(islice(read_rows(corpus, "test"), 0, step * count, step)):
        wave, rate = decode(row["audio"]["bytes"])
        original = folder / f"original-{index}.wav"
        write(original, wave, rate)
        copies = {}
        for name, system in systems.items():
            sound = torch.from_numpy(resample(to_channels(wave, 1), rate, system.rate))[None]
            path = folder / f"{name}-{index}.wav"
            copies[name] = {"file": str(path), **copied(sound, system, path)}
        made.append({"id": row["id"], "caption": row["captions"][0], "original": str(original), "copies": copies})
    return made


def copiers(models: Mapping[str, str]) -> dict[str, Copier]:
    """The codec, the vocoder on spectrograms of the sounds themselves, and on those that the autoencoder decodes."""
    codec, vocoder = Codec.from_pretrained(models["codec"]), load_vocoder(models["vocoder"])
    autoencoder = Autoencoder.from_pretrained(models["autoencoder"])
    return {
        "codec": Copier(codec.sample_rate, lambda wave: codec(wave).audio),
        "vocoder": Copier(vocoder.sample_rate, lambda wave: vocoder(autoencoder.mel(wave))),
        "autoencoder": Copier(
            autoencoder.sample_rate,
            lambda wave: vocoder(autoencoder.decode(autoencoder.encode(autoencoder.mel(wave)))),
        ),
    }


def copied(sound: Tensor, system: Copier, path: Path) -> dict[str, float]:
    """Write the copy of a sound [1, 1, T], as far as both reach, and compare the two."""
    made = system.copy(sound)
    samples = min(sound.shape[-1], made.shape[-1])
    made, sound = made[..., :samples], sound[..., :samples]
    write(path, made[0].numpy(), system.rate)
    return {"si_snr": float(si_snr(made, sound)), "mel_distance": float(mel_distance(made, sound, system.rate))}
