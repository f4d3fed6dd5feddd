"""Small corpora and runs of the real tasks."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from t2a.audio.spectral import MelSpec
from t2a.config import validate
from t2a.data import pipeline
from t2a.data.plan import Plan
from t2a.data.position import Position
from t2a.data.shards import ShardBounds, read_manifest, write_shards
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.codec import Codec, CodecConfig
from t2a.models.kl1d import Kl1dConfig
from t2a.train.checkpoint import newest_complete
from t2a.train.run import Run

RATE = 8000
QUANTIZER = {"codebooks": 2, "bins": 16}
CODEC = {
    "sample_rate": RATE,
    "filters": 4,
    "ratios": [4, 4, 2],
    "dimension": 8,
    "lstm_layers": 1,
    "quantizer": QUANTIZER,
}


def audio_corpus(uri: str, rows: int = 48, broken: tuple[int, ...] = (), held_out: str = "valid") -> str:
    """Clips of 0.4 s with one tone each; a sixth of them is `held_out`, and those of `broken` are no audio."""

    def clip(index: int) -> dict[str, Any]:
        time = np.arange(RATE * 2 // 5) / RATE
        wave = 0.3 * np.sin(2 * np.pi * (150 + 40 * index) * time)
        file = io.BytesIO()
        soundfile.write(file, wave, RATE, format="FLAC")
        content = b"junk" if index in broken else file.getvalue()
        return {
            "id": f"tone-{index}", "audio": {"bytes": content, "path": f"{index}.flac"}, "sample_rate": RATE,
            "channels": 1, "seconds": 0.4, "captions": [f"a tone of {150 + 40 * index} hertz"], "source": "made",
            "licence": "CC0-1.0", "split": held_out if index % 6 == 5 else "train",
        }  # fmt: skip

    write_shards((clip(index) for index in range(rows)), uri, bounds=ShardBounds(group_rows=5))
    return uri


def codes_corpus(uri: str, rows: int = 48, group: int = 64) -> str:
    """Random codes of 16 frames, in row groups of `group`."""
    random = np.random.default_rng(0)

    def clip(index: int) -> dict[str, Any]:
        codes = random.integers(0, QUANTIZER["bins"], (2, 16)).astype("<u2")
        return {
            "id": f"codes-{index}", "codes": {"bytes": codes.tobytes(), "codebooks": 2}, "frame_rate": 50.0,
            "seconds": 0.32, "captions": [f"sound {index}"], "source": "made", "licence": "CC0-1.0",
            "split": "valid" if index % 6 == 5 else "train",
        }  # fmt: skip

    write_shards((clip(index) for index in range(rows)), uri, kind="codes", bounds=ShardBounds(group_rows=group))
    return uri


def stream(run: Run) -> Iterator[dict[str, np.ndarray]]:
    """What Ray's readers would give a lone worker that goes on from the newest checkpoint."""
    found = newest_complete(run.folder)
    position = found.position if found else Position()
    plan = Plan(read_manifest(run.data.uri), run.data.split, run.seed)
    for window in plan.windows(position.cursor, run.data.window, 1000):
        task = {"first": np.array([window.start]), "stop": np.array([window.stop])}
        yield from pipeline._read(task, config=run.data, plan=plan, position=position, block_rows=4)


def untrained_codec(folder: Path) -> str:
    Codec(CodecConfig.model_validate(CODEC)).save_pretrained(folder)
    return str(folder)


def untrained_lm(folder: Path, codec: str) -> str:
    """A language model as a run exports it, with a copy of its codec."""
    task = lm_run("out", "corpus", codec, {"kind": "minilm"}).task.build()
    folder.mkdir(parents=True)
    task.export({"lm": task.networks()["lm"].state_dict()}, folder)
    return str(folder)


def codec_run(out: str, corpus: str, **changes: Any) -> Run:
    settings = {
        "name": "codec", "out": out, "steps": 6, "batch_size": 8, "workers": 2, "log_every": 2, "log_rows": True,
        "task": {"kind": "codec", "model": CODEC, "critic": {"ffts": [256, 128], "filters": 4},
                 "mel": {"mels": 8, "windows": [64, 256]}},
        "data": {"kind": "audio", "uri": corpus, "sample_rate": RATE, "crop_seconds": 0.128, "window": 8},
        "optim": {"codec": {"lr": 1e-3}, "critic": {"lr": 1e-3}},
        "engine": {"zero": 2}, "checkpoint": {"every": 2, "keep": 99}, "eval": {"every": 4, "rows": 8},
        "track": {"enabled": False},
    }  # fmt: skip
    return validate(Run, settings | changes, "test")


def autoencoder_run(out: str, corpus: str, critic: dict[str, Any], weights: dict[str, Any], **changes: Any) -> Run:
    mel = {"rate": RATE, "n_fft": 256, "hop": 64, "n_mels": 16, "log": "ln"}
    network = {"kind": "1d", "latent": 4, "widths": [8, 12], "blocks": 1}
    settings = {
        "name": "autoencoder", "out": out, "steps": 6, "batch_size": 8, "workers": 2, "log_every": 2,
        "task": {"kind": "autoencoder", "model": {"mel": mel, "network": network},
                 "critic": critic, "weights": weights},
        "data": {"kind": "audio", "uri": corpus, "sample_rate": RATE, "crop_seconds": 0.128, "window": 8},
        # Hinge gradients cancel to rounding noise, which AdamW blows up with its usual eps.
        "optim": {name: {"lr": 3e-4, "eps": 1e-3} for name in ("autoencoder", "critic")},
        "engine": {"zero": 2}, "checkpoint": {"every": 2}, "eval": {"every": 4, "rows": 8},
        "track": {"enabled": False},
    }  # fmt: skip
    return validate(Run, settings | changes, "test")


def vocoder_run(out: str, corpus: str, model: dict[str, Any], contest: str, **changes: Any) -> Run:
    mel = {"rate": RATE, "n_fft": 256, "hop": 64, "n_mels": 16, "log": "ln"}
    critic = {"ffts": [], "periods": {"periods": [2], "widths": [4, 4]}, "resolutions": {"ffts": [128], "filters": 4}}
    settings = {
        "name": "vocoder", "out": out, "steps": 6, "batch_size": 8, "workers": 2, "log_every": 2,
        "task": {"kind": "vocoder", "model": {"mel": mel} | model, "critic": critic, "contest": contest,
                 "mel": {"mels": 8, "windows": [64, 256], "log": True, "floor": 1e-2},
                 "weights": {"mel": 1, "adv": 1, "feat": 1}},
        "data": {"kind": "audio", "uri": corpus, "sample_rate": RATE, "crop_seconds": 0.128, "window": 8},
        "optim": {name: {"lr": 3e-4, "eps": 1e-3} for name in ("vocoder", "critic")},
        "engine": {"zero": 2}, "checkpoint": {"every": 2}, "eval": {"every": 4, "rows": 8},
        "track": {"enabled": False},
    }  # fmt: skip
    return validate(Run, settings | changes, "test")


def lm_run(out: str, corpus: str, codec: str, text: dict[str, Any], **changes: Any) -> Run:
    model = {"codebooks": 2, "bins": 16, "max_frames": 16, "width": 32, "layers": 2, "heads": 2}
    settings = {
        "name": "lm", "out": out, "steps": 6, "batch_size": 8, "workers": 2, "log_every": 2,
        "task": {"kind": "lm", "model": model, "encoders": {"text": text}, "codec": codec},
        "data": {"kind": "codes", "uri": corpus, "codebooks": 2, "crop_frames": 16, "window": 8},
        "optim": {"lm": {"lr": 1e-3}}, "engine": {"zero": 2}, "checkpoint": {"every": 2},
        "eval": {"every": 4, "rows": 8}, "track": {"enabled": False},
    }  # fmt: skip
    return validate(Run, settings | changes, "test")


def untrained_autoencoder(folder: Path, **changes: Any) -> str:
    """An autoencoder with latents of 3 numbers for every 64 samples."""
    mel = MelSpec(rate=RATE, n_fft=64, hop=16, n_mels=8, log="ln").model_copy(update=changes)
    network = Kl1dConfig(latent=3, widths=(8, 8, 8), blocks=1)
    Autoencoder(AutoencoderConfig(mel=mel, network=network)).save_pretrained(folder)
    return str(folder)


def denoiser_run(out: str, corpus: str, autoencoder: str, **changes: Any) -> Run:
    """One process."""
    model = {"latent": [3], "max_frames": 24, "network": {"kind": "dit", "width": 16, "layers": 1, "heads": 2}}
    settings = {
        "name": "denoiser", "out": out, "steps": 4, "batch_size": 4, "log_every": 1,
        "task": {"kind": "denoiser", "model": model, "autoencoder": autoencoder},
        "data": {"kind": "latents", "uri": corpus, "latent": [3], "crop_frames": 24, "window": 8},
        "optim": {"denoiser": {"lr": 1e-2}}, "engine": {"kind": "plain", "ema": 0.8}, "checkpoint": {"every": 4},
        "eval": {"every": 4, "rows": 8}, "track": {"enabled": False},
    }  # fmt: skip
    return validate(Run, settings | changes, "test")
