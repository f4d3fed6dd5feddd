"""Import `transformers`' EncodecModel: a local folder, or a model of the Hugging Face hub."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from pydantic import BaseModel, ValidationError
from torch import Tensor

from t2a.errors import CheckpointError, ConfigError
from t2a.interop import pickles
from t2a.interop.encodec import assemble, own_names, refuse
from t2a.models.codec import Codec
from t2a.models.pretrained import read_tensors

CONFIG, WEIGHTS, PICKLE = "config.json", "model.safetensors", "pytorch_model.bin"
INDEX = f"{WEIGHTS}.index.json"  # of weights in several files
NORMS = {"weight_norm": "weight", "time_group_norm": "time_group"}


S = TypeVar("S", bound=BaseModel)


class AnySettings(BaseModel):
    """Which model of transformers a `config.json` is of."""

    model_type: str | None = None


class Index(BaseModel):
    """Where the weights of a model in several files are."""

    weight_map: dict[str, str]


class EncodecSettings(BaseModel):
    """The part of EncodecModel's `config.json` that describes the codec; the defaults are those of EncodecConfig."""

    model_type: Literal["encodec"]
    sampling_rate: int = 24000
    audio_channels: int = 1
    normalize: bool = False
    chunk_length_s: float | None = None
    overlap: float | None = None
    hidden_size: int = 128
    num_filters: int = 32
    num_residual_layers: int = 1
    upsampling_ratios: tuple[int, ...] = (8, 5, 4, 2)
    norm_type: Literal["weight_norm", "time_group_norm"] = "weight_norm"
    kernel_size: int = 7
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    dilation_growth_rate: int = 2
    use_causal_conv: bool = True
    pad_mode: str = "reflect"
    compress: int = 2
    num_lstm_layers: int = 2
    trim_right_ratio: float = 1.0
    codebook_size: int = 1024
    use_conv_shortcut: bool = True
    target_bandwidths: tuple[float, ...] = (1.5, 3.0, 6.0, 12.0, 24.0)


def load(source: str) -> Codec:
    """Return the codec of an EncodecModel folder or hub id, in eval mode. Raises `CheckpointError`, `ConfigError`."""
    folder = fetch(source)
    return codec(read_settings(folder / CONFIG, EncodecSettings, "an EncodecModel"), read_weights(folder), source)


def codec(found: EncodecSettings, tensors: Mapping[str, Tensor], where: str) -> Codec:
    """Return the codec of settings and tensors, in eval mode. Raises `CheckpointError`."""
    own = own_names(tensors, where)
    refuse(
        where,
        {
            "compress": (found.compress, 2),
            "trim_right_ratio": (found.trim_right_ratio, 1),
            "last_kernel_size": (found.last_kernel_size, found.kernel_size),
            "dilation_growth_rate": (found.dilation_growth_rate if found.num_residual_layers > 1 else 2, 2),
        },
    )
    return assemble(settings(found, codebooks=len(own["quantizer.codebook"])), own, where)


def settings(found: EncodecSettings, codebooks: int) -> dict[str, Any]:
    """Return what a `CodecConfig` calls these settings; the number of codebooks is that of the tensors."""
    segments = {} if found.chunk_length_s is None else {"segment_seconds": found.chunk_length_s}
    return segments | {
        "sample_rate": found.sampling_rate,
        "channels": found.audio_channels,
        "filters": found.num_filters,
        "ratios": found.upsampling_ratios,
        "dimension": found.hidden_size,
        "kernel": found.kernel_size,
        "residual_kernel": found.residual_kernel_size,
        "residual_units": found.num_residual_layers,
        "shortcut": "conv" if found.use_conv_shortcut else "identity",
        "lstm_layers": found.num_lstm_layers,
        "causal": found.use_causal_conv,
        "norm": NORMS[found.norm_type],
        "pad_mode": found.pad_mode,
        "normalise": found.normalize,
        "overlap": found.overlap or 0.0,
        "quantizer": {
            "codebooks": codebooks,
            "bins": found.codebook_size,
            "dropout": len(found.target_bandwidths) > 1,
        },
    }


def model_type(source: str) -> str | None:
    """Tell what a folder or a hub id holds, without its weights. Raises `CheckpointError`, `ConfigError`."""
    return read_settings(fetch(source, [CONFIG], CONFIG) / CONFIG, AnySettings, "a model").model_type


def fetch(source: str, wanted: Sequence[str] = (CONFIG, WEIGHTS), instead: str = PICKLE) -> Path:
    """Return the local folder of a model, downloaded where `source` is an id of the hub.

    wanted: files, as globs; `instead` is taken where there are no weights among them.
    """
    if Path(source).is_dir():
        return Path(source)
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", source):
        raise ConfigError(f"There is no folder {source}, nor can a model of the hub have that name.")
    try:
        folder = Path(huggingface_hub.snapshot_download(source, allow_patterns=list(wanted)))
        if not any((folder / name).exists() for name in (WEIGHTS, INDEX)) and instead not in wanted:
            folder = Path(huggingface_hub.snapshot_download(source, allow_patterns=[*wanted, instead]))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        told = str(error).strip().splitlines()[0].rstrip(".")
        raise CheckpointError(
            f"There is no folder {source}, and the hub gives no model of that name ({told}); "
            "check the name, or download it elsewhere and give the folder."
        ) from error
    return folder


def read_settings(path: Path, model: type[S], what: str) -> S:
    """Read `config.json`, which should describe `what`. Raises `CheckpointError`."""
    try:
        return model.model_validate(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        else:
            told = str(error)
        raise CheckpointError(f"{path} does not describe {what} ({told}).") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of a model folder, in one file or in several. Raises `CheckpointError`."""
    if (folder / WEIGHTS).exists():
        return read_tensors(folder / WEIGHTS)
    if (folder / INDEX).exists():
        found: dict[str, Tensor] = {}
        for name in sorted(set(read_settings(folder / INDEX, Index, "weights").weight_map.values())):
            if Path(name).name != name:
                raise CheckpointError(f"{folder / INDEX} names {name}, which is no file of this folder.")
            found |= read_tensors(folder / name)
        return found
    if (folder / PICKLE).exists():
        return pickles.tensors(pickles.read(folder / PICKLE), str(folder / PICKLE))
    raise CheckpointError(f"{folder} holds no {WEIGHTS} and no {PICKLE}: give the folder of a model of transformers.")
