"""diffusers' UNet2DConditionModel, as in Stable Diffusion, Make-An-Audio and AudioLDM, becomes a denoiser of ours.

And back: the folder that `save` writes is one that diffusers loads.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel
from torch import Tensor

from t2a.config import validate
from t2a.diffusion.process import ProcessConfig
from t2a.errors import CheckpointError, ConfigError
from t2a.interop import huggingface, pickles
from t2a.interop.encodec import refuse
from t2a.interop.unet_names import own_names, their_names
from t2a.models.denoiser import Denoiser, DenoiserConfig
from t2a.models.pretrained import check_fit, read_tensors
from t2a.models.unet import EPS, UNet

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
PICKLE = "diffusion_pytorch_model.bin"
CONDITIONS = "t2a_conditions.safetensors"  # beside them: what a denoiser has before the network
ATTENDS = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
UP = {True: "CrossAttnUpBlock2D", False: "UpBlock2D"}
DOWN = {attends: name for name, attends in ATTENDS.items()}
PLAIN = {
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "act_fn": "silu",
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "resnet_time_scale_shift": "default",
    "only_cross_attention": False,
    "dual_cross_attention": False,
    "time_embedding_type": "positional",
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "time_cond_proj_dim": None,
    "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "attention_type": "default",
    "addition_embed_type": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "num_class_embeds": None,
    "cross_attention_norm": None,
}
"""What diffusers calls its defaults, which alone a `UNet` knows"""


class Settings(BaseModel, extra="allow"):
    """The part of `config.json` that ours can differ in; the defaults are those of diffusers."""

    in_channels: int = 4
    out_channels: int = 4
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up_block_types: tuple[str, ...] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int | tuple[int, ...] = 2
    transformer_layers_per_block: int | tuple[int, ...] = 1
    attention_head_dim: int | tuple[int, ...] = 8  # it is the number of heads, in spite of its name
    num_attention_heads: int | tuple[int, ...] | None = None
    cross_attention_dim: int | tuple[int, ...] = 1280
    class_embed_type: str | None = None
    class_embeddings_concat: bool = False
    projection_class_embeddings_input_dim: int | None = None
    norm_num_groups: int | None = 32
    norm_eps: float = EPS
    dropout: float = 0.0
    use_linear_projection: bool = False
    time_embedding_dim: int | None = None


def load(
    source: str,
    bands: int,
    max_frames: int,
    process: ProcessConfig,
    *,
    condition: str = "text",
    time_first: bool = True,
) -> Denoiser:
    """Return the denoiser of a `unet` folder, of the pipeline folder around it or of a hub id, in eval mode.

    bands, max_frames: F and the longest L of its latents [C, F, L], which the folder does not tell, no more than the
    process that it was trained for. condition: the name of what it is told; its states enter the network as they are,
    and its null is zeros, unless `save` wrote others. time_first: its latents are [C, L, F], as AudioLDM's; ours have
    time last. Raises `CheckpointError`, `ConfigError`.
    """
    folder = find(source)
    found = huggingface.read_settings(folder / CONFIG, Settings, "a UNet2DConditionModel")
    network = settings(found, source)
    width = network["context"]
    told = {f"projections.{condition}.weight": torch.eye(width), f"projections.{condition}.bias": torch.zeros(width)}
    told[f"nulls.{condition}"] = torch.zeros(width)
    if (folder / CONDITIONS).exists():
        told = read_tensors(folder / CONDITIONS)
    names = {name.split(".")[1]: tensor.shape[1] for name, tensor in told.items() if name.endswith(".weight")}
    given = {
        "latent": (found.out_channels, bands),
        "max_frames": max_frames,
        "network": network,
        "process": process,
        "conditions": {name: {"width": width} for name, width in names.items()},
        "extra_channels": found.in_channels - found.out_channels,
    }
    try:
        config = validate(DenoiserConfig, given, source)
        with torch.device("meta"):
            model = Denoiser(config)
    except (ConfigError, ValueError) as error:
        raise CheckpointError(f"The settings of {source} are none that a denoiser can have. {error}") from error
    own = {f"network.{name}": tensor for name, tensor in _own(folder, model.network, source, time_first).items()} | told
    check_fit(source, model.state_dict(), own)
    model.load_state_dict(own, assign=True)
    return model.eval()


def save(model: Denoiser, folder: str | Path, *, time_first: bool = True) -> None:
    """Write a denoiser's U-Net as a folder that diffusers loads, local; it appears whole or not at all.

    That U-Net is told states that have gone through the projection of their condition: projections and nulls lie
    beside it. time_first: it is given latents [C, L, F]. Raises `ConfigError` when something lies there, or where
    diffusers has no such network.
    """
    folder, network = Path(folder), model.network
    if not isinstance(network, UNet):
        raise ConfigError(f"The network is a {model.config.network.kind}: diffusers has no such model, only a unet.")
    if not model.config.conditions:
        raise ConfigError("The denoiser is told nothing: diffusers has no such U-Net with transformer blocks.")
    if folder.exists():
        raise ConfigError(f"{folder} is there already; name a new folder or remove it.")
    state = {name: tensor.detach().cpu().float() for name, tensor in model.state_dict().items()}
    own = {name.removeprefix("network."): tensor for name, tensor in state.items() if name.startswith("network.")}
    config = {"_class_name": "UNet2DConditionModel", **_their_settings(model.config, network)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
        part = Path(made) / "unet"
        part.mkdir()
        (part / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        safetensors.torch.save_file(their_names(own, time_first=time_first), part / WEIGHTS, metadata={"format": "pt"})
        rest = {name: tensor.contiguous() for name, tensor in state.items() if not name.startswith("network.")}
        safetensors.torch.save_file(rest, part / CONDITIONS, metadata={"format": "pt"})
        part.rename(folder)


def find(source: str) -> Path:
    """Return the local folder of the U-Net, downloaded where `source` is an id of the hub. Raises `CheckpointError`."""
    for weights in (WEIGHTS, PICKLE):
        wanted = [f"unet/{CONFIG}", f"unet/{weights}"]
        folder = huggingface.fetch(source, wanted, instead=wanted[1])
        for place in (folder, folder / "unet"):
            if (place / CONFIG).exists() and (place / weights).exists():
                return place
    raise CheckpointError(f"{source} holds no {CONFIG} with {WEIGHTS}, nor a folder unet with them.")


def _own(folder: Path, network: UNet, where: str, time_first: bool) -> dict[str, Tensor]:
    """Read the weights."""
    if (folder / WEIGHTS).exists():
        tensors = read_tensors(folder / WEIGHTS)
    else:
        tensors = pickles.tensors(pickles.read(folder / PICKLE), str(folder / PICKLE))
    floats = {name: tensor.float() for name, tensor in tensors.items()}
    return own_names(floats, network, where, time_first=time_first)


def settings(found: Settings, where: str) -> dict[str, Any]:
    """Return what a `UNetConfig` calls these settings. Raises `CheckpointError` for what ours cannot do."""
    widths, levels = found.block_out_channels, len(found.block_out_channels)
    film = found.class_embed_type is not None
    crossed = _one(found.cross_attention_dim)
    attends = [ATTENDS.get(name) for name in found.down_block_types]
    known = {
        "down_block_types": (set(found.down_block_types) - ATTENDS.keys(), set()),
        "up_block_types": (found.up_block_types, tuple(UP[bool(attend)] for attend in reversed(attends))),
        "block_out_channels": ([width % widths[0] for width in widths], [0] * levels),
        "class_embed_type": (found.class_embed_type, "simple_projection" if film else None),
        "class_embeddings_concat": (found.class_embeddings_concat, film),
        "cross_attention_dim": (crossed, _one(widths) if film else crossed),
        "norm_eps": (found.norm_eps, EPS),
        "time_embedding_dim": (found.time_embedding_dim or 4 * widths[0], 4 * widths[0]),
    }
    more = found.model_extra or {}
    refuse(where, known | {name: (more.get(name, default), default) for name, default in PLAIN.items()})
    return {
        "kind": "unet",
        "width": widths[0],
        "multipliers": [width // widths[0] for width in widths],
        "attention": None if all(attends) else attends,
        "blocks": _one(found.layers_per_block),
        "depth": _one(found.transformer_layers_per_block),
        "heads": _one(found.num_attention_heads or found.attention_head_dim),
        "context": found.projection_class_embeddings_input_dim if film else crossed,
        "told": "film" if film else "cross",
        "groups": found.norm_num_groups,
        "dropout": found.dropout,
    }


def _their_settings(config: DenoiserConfig, network: UNet) -> dict[str, Any]:
    own = network.config
    attends = [own.attends(level) for level in range(len(own.widths))]
    film = {
        "class_embed_type": "simple_projection",
        "class_embeddings_concat": True,
        "projection_class_embeddings_input_dim": own.context,
        "cross_attention_dim": own.widths,
    }
    given = Settings(
        in_channels=config.latent[0] + config.extra_channels,
        out_channels=config.latent[0],
        down_block_types=tuple(DOWN[attend] for attend in attends),
        up_block_types=tuple(UP[attend] for attend in reversed(attends)),
        block_out_channels=own.widths,
        layers_per_block=own.blocks,
        transformer_layers_per_block=own.depth,
        attention_head_dim=own.heads,
        norm_num_groups=own.groups,
        dropout=own.dropout,
        use_linear_projection=True,
        **film if own.told == "film" else {"cross_attention_dim": own.context},
    )
    return given.model_dump(mode="json")


def _one(value: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
    """What is the same on all levels; what differs stays, and fits no config."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
