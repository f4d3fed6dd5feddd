"""Import diffusers' AutoencoderKL of spectrograms: the `vae` folder of an AudioLDM."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel
from torch import Tensor

from t2a.audio.spectral import MelSpec
from t2a.config import validate
from t2a.errors import CheckpointError, ConfigError
from t2a.interop.encodec import refuse, write
from t2a.interop.huggingface import fetch, read_settings
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.pretrained import check_fit, read_tensors

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
AUDIOLDM = MelSpec(rate=16000, n_fft=1024, hop=160, n_mels=64, fmin=0, fmax=8000, center=False, log="ln", floor=1e-5)
"""AudioLDM's spectrogram, which its folders do not describe"""

# (their names, ours), applied in this order.
NAMES = (
    (r"^encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.stages.\1.blocks."),
    (r"^encoder\.down_blocks\.(\d+)\.attentions\.", r"encoder.stages.\1.attentions."),
    (r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.downs.\1."),
    (r"^decoder\.up_blocks\.(\d+)\.resnets\.", r"decoder.stages.\1.blocks."),
    (r"^decoder\.up_blocks\.(\d+)\.attentions\.", r"decoder.stages.\1.attentions."),
    (r"^decoder\.up_blocks\.(\d+)\.upsamplers\.0\.", r"decoder.ups.\1."),
    (r"\.mid_block\.resnets\.0\.", ".middle.before."),
    (r"\.mid_block\.resnets\.1\.", ".middle.after."),
    (r"\.mid_block\.attentions\.0\.", ".middle.attention."),
    (r"^decoder\.conv_out\.", "last."),
    (r"\.norm1\.", ".norm_in."),
    (r"\.norm2\.", ".norm_out."),
    (r"\.conv1\.", ".conv_in."),
    (r"\.conv2\.", ".conv_out."),
    (r"\.conv_shortcut\.", ".shortcut."),
    (r"\.group_norm\.", ".norm."),
    (r"\.(?:to_out\.0|proj_attn)\.", ".outward."),
    (r"\.(?:to_q|query)\.", ".queries."),
    (r"\.(?:to_k|key)\.", ".keys."),
    (r"\.(?:to_v|value)\.", ".values."),
    (r"^(encoder|decoder)\.conv_in\.", r"\1.first."),
    (r"^encoder\.conv_out\.", "encoder.last."),
    (r"\.conv_norm_out\.", ".norm."),
    (r"^quant_conv\.", "moments."),
    (r"^post_quant_conv\.", "enter."),
)


class Settings(BaseModel):
    """The part of AutoencoderKL's `config.json` that describes it; the defaults are diffusers'."""

    class_name: Literal["AutoencoderKL"] = "AutoencoderKL"
    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    act_fn: str = "silu"
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    shift_factor: float | None = None
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True


def load(source: str, mel: MelSpec = AUDIOLDM, *, time_first: bool = True) -> Autoencoder:
    """Return the autoencoder of a `vae` folder, of the pipeline folder around it or of a hub id, in eval mode.

    mel: what its spectrograms are. time_first: its pictures are [B, 1, L, M], as AudioLDM's; ours have time last.
    Raises `CheckpointError`, `ConfigError`.
    """
    folder = find(source)
    found = read_settings(folder / CONFIG, Settings, "an AutoencoderKL")
    return autoencoder(found, read_tensors(folder / WEIGHTS), source, mel, time_first=time_first)


def find(source: str) -> Path:
    """Return the local folder of the autoencoder, downloaded where `source` is an id of the hub."""
    folder = fetch(source, [f"vae/{CONFIG}", f"vae/{WEIGHTS}"], f"vae/{WEIGHTS}")
    for place in (folder, folder / "vae"):
        if (place / CONFIG).exists() and (place / WEIGHTS).exists():
            return place
    raise CheckpointError(f"{source} holds no {CONFIG} with {WEIGHTS}, nor a folder vae with them.")


def autoencoder(
    found: Settings, tensors: Mapping[str, Tensor], where: str, mel: MelSpec, *, time_first: bool
) -> Autoencoder:
    """Return the autoencoder of settings and tensors, in eval mode. Raises `CheckpointError`."""
    try:
        config = validate(AutoencoderConfig, settings(found, mel, where), where)
    except ConfigError as error:
        raise CheckpointError(f"The settings of {where} are none that an autoencoder can have. {error}") from error
    own = own_names(tensors, time_first=time_first)
    with torch.device("meta"):
        model = Autoencoder(config)
    check_fit(where, model.network.state_dict(), own)
    model.network.load_state_dict(own, assign=True)
    latents = torch.ones(found.latent_channels)
    scale = {"mean": (found.shift_factor or 0.0) * latents, "std": latents / found.scaling_factor}
    model.latents.load_state_dict(scale | {"count": torch.ones(1)}, assign=True)
    return model.eval()


def settings(found: Settings, mel: MelSpec, where: str) -> dict[str, Any]:
    """Return what an `AutoencoderConfig` calls these settings. Raises `CheckpointError` for what it has no name for."""
    stages = len(found.block_out_channels)
    attention = [index for index, kind in enumerate(found.down_block_types) if kind == "AttnDownEncoderBlock2D"]
    down = tuple(f"{'Attn' * (index in attention)}DownEncoderBlock2D" for index in range(stages))
    up = tuple(name.replace("DownEncoder", "UpDecoder") for name in reversed(down))
    width = found.block_out_channels[0]
    refuse(
        where,
        {
            "in_channels": (found.in_channels, 1),
            "out_channels": (found.out_channels, 1),
            "act_fn": (found.act_fn, "silu"),
            "down_block_types": (found.down_block_types, down),
            "up_block_types": (found.up_block_types, up),
            "use_quant_conv": (found.use_quant_conv, True),
            "use_post_quant_conv": (found.use_post_quant_conv, True),
            "mid_block_add_attention": (found.mid_block_add_attention, True),
            "block_out_channels": ([channels % width for channels in found.block_out_channels], [0] * stages),
        },
    )
    network = {
        "kind": "2d",
        "latent": found.latent_channels,
        "width": width,
        "multipliers": [channels // width for channels in found.block_out_channels],
        "blocks": found.layers_per_block,
        "attention": attention,
        "groups": found.norm_num_groups,
    }
    return {"mel": mel.model_dump(), "network": network, "scaled": False}


def own_names(tensors: Mapping[str, Tensor], *, time_first: bool) -> dict[str, Tensor]:
    """Return AutoencoderKL's tensors under the names, and with the axes, that they have in a `Kl2d`, in float32."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for theirs, ours in NAMES:
            name = re.sub(theirs, ours, name)
        if ".attention" in name and tensor.ndim == 4:  # older checkpoints have convolutions over single places there
            tensor = tensor[:, :, 0, 0]
        turned = tensor.mT if time_first and tensor.ndim == 4 else tensor
        renamed[name] = turned.float().contiguous()
    for name in [name for name in renamed if ".queries." in name]:
        parts = [name.replace(".queries.", f".{part}.") for part in ("queries", "keys", "values")]
        if all(part in renamed for part in parts):
            renamed[name.replace(".queries.", ".inward.")] = torch.cat([renamed.pop(part) for part in parts])
    return renamed


def convert(make: Callable[[], Autoencoder], out: str) -> str:
    """Write what `make` returns as the model folder `out`, local or on s3://, and say in a sentence what it is.

    Raises `ConfigError` when something lies there.
    """
    model = write(make, out)
    count, shape = sum(parameter.numel() for parameter in model.parameters()), " x ".join(map(str, model.latent_shape))
    return (
        f"an autoencoder of {count / 1e6:.2f} M parameters: {model.config.mel.n_mels} mel bands of "
        f"{model.sample_rate:,} Hz, {model.frame_rate:g} latent frames/s of {shape}"
    )
