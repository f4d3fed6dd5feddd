"""Import a model of the vocos package: `config.yaml` and `pytorch_model.bin`, in a folder or on the hub."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from t2a.config import parse, validate
from t2a.errors import CheckpointError, ConfigError
from t2a.interop.encodec import refuse
from t2a.interop.huggingface import PICKLE, WEIGHTS, fetch, read_weights
from t2a.models.pretrained import check_fit
from t2a.models.vocoder import Vocos, VocosConfig

CONFIG = "config.yaml"
# (their names, ours), applied in this order.
NAMES = (
    (r"^backbone\.convnext\.", "blocks."),
    (r"^backbone\.final_layer_norm\.", "final_norm."),
    (r"^backbone\.", ""),
    (r"^head\.out\.", "head."),
    (r"\.dwconv\.", ".depthwise."),
    (r"\.pwconv1\.", ".expand."),
    (r"\.pwconv2\.", ".project."),
    (r"\.gamma$", ".scale"),
)
MADE = re.compile(r"^(feature_extractor\.mel_spec|head\.istft)\.")  # windows and filters, which the settings tell


class Features(BaseModel):
    """Arguments of MelSpectrogramFeatures."""

    sample_rate: int = 24000
    n_fft: int = 1024
    hop_length: int = 256
    n_mels: int = 100
    padding: str = "center"


class Backbone(BaseModel):
    """Arguments of VocosBackbone."""

    input_channels: int
    dim: int
    intermediate_dim: int
    num_layers: int
    adanorm_num_embeddings: int | None = None


class Head(BaseModel):
    """Arguments of ISTFTHead."""

    dim: int
    n_fft: int
    hop_length: int
    padding: str = "same"


class Part(BaseModel):
    """A class of the package and its arguments."""

    class_path: str
    init_args: dict[str, Any] = {}


class Parts(BaseModel):
    """The whole `config.yaml`."""

    feature_extractor: Part
    backbone: Part
    head: Part


def load(source: str) -> Vocos:
    """Return the vocoder of a folder or a hub id, in eval mode. Raises `CheckpointError`, `ConfigError`."""
    folder = fetch(source, (CONFIG, WEIGHTS, PICKLE))
    settings = read_config(folder / CONFIG)
    try:
        config = validate(VocosConfig, settings, source)
    except ConfigError as error:
        raise CheckpointError(f"The settings of {source} are none that a Vocos can have. {error}") from error
    own = own_names(read_weights(folder))
    with torch.device("meta"):
        model = Vocos(config)
    check_fit(source, model.state_dict(), own)
    model.load_state_dict(own, assign=True)
    return model.eval()


def read_config(path: Path) -> dict[str, Any]:
    """Return what a `VocosConfig` calls the settings of a `config.yaml`. Raises `CheckpointError`."""
    try:
        parts = Parts.model_validate(parse(path.read_text(), str(path)))
        kinds = {name: part.class_path.rpartition(".")[2] for name, part in parts}
        known = {"feature_extractor": "MelSpectrogramFeatures", "backbone": "VocosBackbone", "head": "ISTFTHead"}
        refuse(str(path), {name: (kinds[name], known[name]) for name in known})
        features = Features.model_validate(parts.feature_extractor.init_args)
        backbone = Backbone.model_validate(parts.backbone.init_args)
        head = Head.model_validate(parts.head.init_args)
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise CheckpointError(f"{path} does not describe a model of the vocos package ({told}).") from error
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise CheckpointError(f"{path} does not describe a model of the vocos package ({error}).") from error
    refuse(
        str(path),
        {
            "adanorm_num_embeddings": (backbone.adanorm_num_embeddings, None),
            "input_channels": (backbone.input_channels, features.n_mels),
            "head.dim": (head.dim, backbone.dim),
            "head.hop_length": (head.hop_length, features.hop_length),
            "head.padding": (head.padding, features.padding),
        },
    )
    mel = {
        "rate": features.sample_rate,
        "n_fft": features.n_fft,
        "hop": features.hop_length,
        "n_mels": features.n_mels,
        "norm": None,
        "scale": "htk",
        "center": features.padding == "center",
        "log": "ln",
        "floor": 1e-7,
    }
    shape = {"width": backbone.dim, "hidden": backbone.intermediate_dim, "layers": backbone.num_layers}
    return {"mel": mel, "n_fft": None if head.n_fft == features.n_fft else head.n_fft} | shape


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the package's tensors under the names that they have in a `Vocos`, in float32."""
    own = {}
    for name, tensor in tensors.items():
        if MADE.match(name):
            continue
        for theirs, ours in NAMES:
            name = re.sub(theirs, ours, name)
        own[name] = tensor.float()
    return own
