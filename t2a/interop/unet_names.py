"""What the tensors of our U-Net are called in diffusers' UNet2DConditionModel."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from t2a.errors import CheckpointError
from t2a.models.unet import UNet

ENDS = {
    "inward": "conv_in",
    "time.expand": "time_embedding.linear_1",
    "time.contract": "time_embedding.linear_2",
    "film": "class_embedding",
    "norm": "conv_norm_out",
    "outward": "conv_out",
}
RESIDUAL = {
    "norm_in": ["norm1"],
    "conv_in": ["conv1"],
    "embed": ["time_emb_proj"],
    "norm_out": ["norm2"],
    "conv_out": ["conv2"],
    "shortcut": ["conv_shortcut"],
}
CONV = {"conv": ["conv"]}
TRANSFORMER = {"norm": ["norm"], "inward": ["proj_in"], "outward": ["proj_out"]}
BLOCK = {
    "self_norm": ["norm1"],
    "self_attention.inward": ["attn1.to_q", "attn1.to_k", "attn1.to_v"],
    "self_attention.outward": ["attn1.to_out.0"],
    "cross_norm": ["norm2"],
    "cross_attention.query": ["attn2.to_q"],
    "cross_attention.key_value": ["attn2.to_k", "attn2.to_v"],
    "cross_attention.outward": ["attn2.to_out.0"],
    "feedforward_norm": ["norm3"],
    "expand": ["ff.net.0.proj"],
    "contract": ["ff.net.2"],
}
"""A part of ours, and the parts of theirs whose rows it joins"""
STEMS = [
    (r"(down|up)\.(\d+)\.(\d+)\.residual\.(.+)", "{}_blocks.{}.resnets.{}", RESIDUAL),
    (r"(down|up)\.(\d+)\.(\d+)\.attention\.(\w+)", "{}_blocks.{}.attentions.{}", TRANSFORMER),
    (
        r"(down|up)\.(\d+)\.(\d+)\.attention\.blocks\.(\d+)\.(.+)",
        "{}_blocks.{}.attentions.{}.transformer_blocks.{}",
        BLOCK,
    ),
    (r"middle\.residual\.(.+)", "mid_block.resnets.0", RESIDUAL),
    (r"middle\.attention\.(\w+)", "mid_block.attentions.0", TRANSFORMER),
    (r"middle\.attention\.blocks\.(\d+)\.(.+)", "mid_block.attentions.0.transformer_blocks.{}", BLOCK),
    (r"middle_end\.residual\.(.+)", "mid_block.resnets.1", RESIDUAL),
    (r"shrink\.(\d+)\.(conv)", "down_blocks.{}.downsamplers.0", CONV),
    (r"grow\.(\d+)\.(conv)", "up_blocks.{}.upsamplers.0", CONV),
]
"""A layer of ours, its place among theirs, and what its last part is called there"""
POINTWISE = re.compile(r".*\.attention\.(inward|outward)\.weight")
"""Linear layers that may be convolutions of kernel size 1 there"""


def own_names(
    tensors: Mapping[str, Tensor], network: UNet, where: str, *, time_first: bool = False
) -> dict[str, Tensor]:
    """Return their tensors under the names of ours; those that have none stay.

    time_first: theirs are for pictures [B, C, L, F]. Raises `CheckpointError`.
    """
    left, own = dict(tensors), {}
    for name in network.state_dict():
        try:
            parts = [left.pop(theirs) for theirs in _sources(name)]
        except KeyError as error:
            raise CheckpointError(f"{where} lacks {error.args[0]}; copy or save it again.") from error
        joined = torch.cat([_turned(part, time_first) for part in parts]).contiguous()
        own[name] = joined.flatten(1) if POINTWISE.fullmatch(name) else joined
    return own | left


def their_names(tensors: Mapping[str, Tensor], *, time_first: bool = False) -> dict[str, Tensor]:
    """Return our tensors under the names of theirs."""
    return {
        theirs: _turned(part, time_first).contiguous()
        for name, tensor in tensors.items()
        for theirs, part in zip(_sources(name), tensor.chunk(len(_sources(name))), strict=True)
    }


def _sources(name: str) -> list[str]:
    """Tell which of their tensors are joined, row after row, to one of ours."""
    layer, _, part = name.rpartition(".")
    if layer in ENDS:
        return [f"{ENDS[layer]}.{part}"]
    for pattern, stem, inner in STEMS:
        if match := re.fullmatch(pattern, layer):
            *places, rest = match.groups()
            return [f"{stem.format(*places)}.{theirs}.{part}" for theirs in inner[rest]]
    raise KeyError(name)


def _turned(tensor: Tensor, time_first: bool) -> Tensor:
    """Let a convolution change the places of its two axes."""
    return tensor.mT if time_first and tensor.ndim == 4 else tensor
