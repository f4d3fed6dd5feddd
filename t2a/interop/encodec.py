"""EnCodec's tensors, as AudioCraft, the encodec package and transformers name them, become a codec of ours."""

import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from t2a import storage
from t2a.config import validate
from t2a.errors import CheckpointError, ConfigError
from t2a.models.codec import Codec, CodecConfig
from t2a.models.pretrained import Pretrained, check_fit

M = TypeVar("M", bound=Pretrained)

LAYER = re.compile(r"^(encoder|decoder)\.(?:model|layers)\.(?=\d)")
WRAPPERS = re.compile(r"\.(?:conv|convtr)(?=\.)")
WEIGHT_NORM = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
CODEBOOK = re.compile(r"^(quantizer\.(?:vq\.)?layers)\.(\d+)\.(_?codebook)\.(inited|cluster_size|embed|embed_avg)$")
OURS = {"embed": "codebook", "cluster_size": "count", "embed_avg": "total", "inited": "updates"}


def own_names(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return EnCodec's tensors under the names that they have in a `Codec`, in float32.

    Names that belong to no part of EnCodec stay as they are. Raises `CheckpointError`.
    """
    own: dict[str, Tensor] = {}
    books: dict[tuple[str, str], dict[str, dict[int, Tensor]]] = defaultdict(lambda: {part: {} for part in OURS})
    for name, tensor in tensors.items():
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        if match := CODEBOOK.match(name):
            books[match[1], match[3]][match[4]][int(match[2])] = tensor
            continue
        new = WRAPPERS.sub("", LAYER.sub(r"\1.", name))
        for theirs, ours in WEIGHT_NORM.items():
            new = new.replace(theirs, ours)
        if new in own:
            raise CheckpointError(f"{where} holds {name} a second time under another name; save it again.")
        own[new] = tensor
    if len(books) != 1:
        raise CheckpointError(f"{where} holds no codec of EnCodec's kind: no quantizer, or more than one, is in it.")
    for (stem, inner), parts in books.items():
        own |= _quantizer(parts, f"{stem}.{{}}.{inner}.{{}}", where)
    return own


def _quantizer(parts: Mapping[str, Mapping[int, Tensor]], name: str, where: str) -> dict[str, Tensor]:
    """Stack the codebooks' tensors."""
    count = 1 + max(max(found, default=-1) for found in parts.values())
    missing = [name.format(k, part) for part, found in parts.items() for k in range(count) if k not in found]
    if missing:
        raise CheckpointError(
            f"{where} lacks {len(missing)} tensors ({', '.join(missing[:3])}); copy or save it again."
        )
    stacked = {}
    for part, found in parts.items():
        if len({tensor.shape for tensor in found.values()}) > 1:
            raise CheckpointError(f"{where}: {name.format('*', part)} differ in shape, but codebooks are of one size.")
        stacked["quantizer." + OURS[part]] = torch.stack([found[k] for k in range(count)])
    # Whether each codebook has begun to learn: a codec that is trained on must not start over with k-means.
    stacked["quantizer.updates"] = (stacked["quantizer.updates"] > 0).all().to(torch.int64)
    return stacked


def layout(own: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """Return the settings of a `CodecConfig` that the shapes of a codec's tensors (`own_names`) tell.

    Norms over time and over channels have the same tensors: both come out as "time_group". Raises `CheckpointError`.
    """
    weights = {
        name.rpartition(".")[0]: tensor.shape
        for name, tensor in own.items()
        if name.endswith((".weight", ".weight_v")) and tensor.ndim == 3
    }
    layers = sorted(int(match[1]) for name in weights if (match := re.fullmatch(r"decoder\.(\d+)", name)))
    units = [name for name in weights if re.fullmatch(r"decoder\.\d+\.block\.1", name)]
    first, last = weights.get("encoder.0"), weights.get("decoder.0")
    if first is None or last is None or len(layers) < 3 or not units:
        raise CheckpointError(f"{where} holds no codec of EnCodec's kind: its encoder or decoder is not in it.")
    ratios = [weights[f"decoder.{layer}"][-1] // 2 for layer in layers[1:-1]]
    weighted, normed = "encoder.0.weight_v" in own, "encoder.0.norm.weight" in own
    return {
        "channels": first[1],
        "filters": first[0],
        "kernel": first[2],
        "ratios": ratios,
        "dimension": last[1],
        "residual_kernel": weights[units[0]][-1],
        "residual_units": len(units) // len(ratios),
        "shortcut": "conv" if any(".shortcut." in name for name in own) else "identity",
        "lstm_layers": sum(re.fullmatch(r"encoder\.\d+\.lstm\.weight_ih_l\d+", name) is not None for name in own),
        "norm": "weight" if weighted else "time_group" if normed else "none",
        "quantizer": dict(zip(("codebooks", "bins"), own["quantizer.codebook"].shape, strict=False)),
    }


def assemble(settings: Mapping[str, Any], own: Mapping[str, Tensor], where: str) -> Codec:
    """Build the codec of settings and tensors (`own_names`). Raises `CheckpointError` unless these fit exactly."""
    try:
        config = validate(CodecConfig, settings, where)
    except ConfigError as error:
        raise CheckpointError(f"The settings of {where} are none that a codec can have. {error}") from error
    with torch.device("meta"):
        codec = Codec(config)
    check_fit(where, codec.state_dict(), own)
    codec.load_state_dict(dict(own), assign=True)
    return codec.eval()


def refuse(where: str, settings: Mapping[str, tuple[Any, Any]]) -> None:
    """Raise `CheckpointError` if a setting (name -> what it is, what alone a codec of ours knows) is another."""
    for name, (found, known) in settings.items():
        if found != known:
            raise CheckpointError(f"{where}: its {name} is {found}, t2a knows {known} only; it cannot be taken.")


def write(load: Callable[[], M], out: str) -> M:
    """Write what `load` returns as the model folder `out`, local or on s3://, and return it.

    Raises `ConfigError` when something lies there, before it is loaded.
    """
    if storage.exists(out):
        raise ConfigError(f"{out} is there already; name a new folder or remove it.")
    model = load()
    if out.startswith("s3://"):
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(Path(folder) / "model")
            storage.upload(Path(folder) / "model", out)
    else:
        model.save_pretrained(out.removeprefix("file://"))
    return model


def convert(load: Callable[[], Codec], out: str) -> str:
    """Write what `load` returns (see `write`) and say in a sentence what it is."""
    codec = write(load, out)
    count = sum(parameter.numel() for parameter in codec.parameters())
    return (
        f"a codec of {count / 1e6:.2f} M parameters: {codec.sample_rate:,} Hz, {codec.channels} channel(s), "
        f"{codec.frame_rate:g} frames/s of {codec.codebooks} x {math.log2(codec.bins):g} bits "
        f"({codec.bit_rate / 1000:g} kbit/s)"
    )
