"""Find and load frozen networks of transformers: a local folder, or a model of the Hugging Face hub."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from t2a.errors import ConfigError

WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")


def load(name: str, processor: str, network: str) -> tuple[Any, Any]:
    """Load the processor and the network (names of classes of transformers) of a model; the network in float32.

    Raises `ConfigError` that says what to do.
    """
    from t2a.audio import torchaudio_backend  # noqa: F401  an unusable torchaudio would break transformers

    import transformers  # isort: skip

    with _explained(name):
        folder = find(name)
        with _quiet(transformers.utils.logging):
            made = getattr(transformers, processor).from_pretrained(folder, local_files_only=True)
            how = {"local_files_only": True, "use_safetensors": True, "dtype": torch.float32}
            model = getattr(transformers, network).from_pretrained(folder, **how)
    return made, model.requires_grad_(False).eval()


def digest(name: str) -> str:
    """Compute the SHA-256 of all that a model is loaded from. Raises `ConfigError`."""
    with _explained(name):
        return _digest(find(name))


def find(name: str) -> str:
    """Return the local folder of a model, downloaded from the hub unless it was before."""
    return name if Path(name).is_dir() else _fetch(name)


@lru_cache(maxsize=16)
def _digest(folder: str) -> str:
    found = hashlib.sha256()
    for path in sorted({path for pattern in WANTED for path in Path(folder).glob(pattern)}):
        found.update(path.name.encode())
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _fetch(name: str) -> str:
    import huggingface_hub

    wanted = list(WANTED)
    try:
        return huggingface_hub.snapshot_download(name, allow_patterns=wanted, local_files_only=True)
    except OSError:
        try:
            huggingface_hub.HfApi().model_info(name, timeout=10)  # one request; a download would retry for a minute
        except Exception as error:  # the hub's and the HTTP library's errors share no base
            raise OSError(str(error) or type(error).__name__) from error
        return huggingface_hub.snapshot_download(name, allow_patterns=wanted)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        local = Path(name).is_dir()
        place = "from this folder" if local else "(no such folder here, so it was sought on the Hugging Face hub)"
        raise ConfigError(
            f"Cannot load the encoder {name} {place}: {lines[0].rstrip('.')}. Set its `name` to a folder with "
            "config.json, weights and tokenizer files, or to a hub name while the hub can be reached; text can also be "
            "read by the encoder `kind: minilm`."
        ) from error


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Hide the bar of loading weights from a disk: it lasts a moment."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
