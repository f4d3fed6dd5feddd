"""Codes of a batch of sound by a frozen codec, for tasks that are trained on what no corpus of codes holds."""

import torch
from torch import Tensor

from t2a.models.codec import Codec
from t2a.tokens.channels import interleave


@torch.no_grad()
def encode(codec: Codec, audio: Tensor, length: Tensor, codebooks: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Turn waves [B, C, T] of `length` [B] real samples into codes int64 [B, K, ceil(T / hop)] and their frames [B].

    codebooks: K, over the `channels` that a mono codec codes one by one; no more of each than the codec has.

    Padding would change a wave's last frames: it is left out, and waves of one length are encoded together, so the
    codes are those that would have been precomputed. Frames past a wave's end are 0.
    """
    codes = audio.new_zeros(len(audio), codebooks, -(-audio.shape[2] // codec.hop), dtype=torch.int64)
    for samples in length.unique().tolist():
        rows = length == samples
        waves = audio[rows, :, :samples].unflatten(1, (channels, -1)).flatten(0, 1)
        found = interleave(codec.encode(waves, codebooks // channels), channels)
        codes[rows, :, : found.shape[2]] = found
    return codes, -(-length // codec.hop)
