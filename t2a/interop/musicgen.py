"""Import transformers' MusicGen, mono, stereo or melody: a local folder, or a model of the Hugging Face hub.

The language model, its codec and its T5 come in one checkpoint and go into one model folder, which needs no network.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from pydantic import BaseModel
from torch import Tensor

from t2a.conditions.encoders import EncoderConfig
from t2a.conditions.melody import ChromaConfig
from t2a.conditions.text import T5Config
from t2a.config import validate
from t2a.errors import CheckpointError, ConfigError
from t2a.interop import huggingface
from t2a.interop.encodec import refuse
from t2a.interop.huggingface import CONFIG, WEIGHTS, EncodecSettings
from t2a.interop.language import Language
from t2a.models.codec import Codec
from t2a.models.lm import LM, LMConfig
from t2a.models.pretrained import check_fit

KINDS = ("musicgen", "musicgen_melody")
SECONDS = 30.0  # of the clips that all released models were trained on
MAX_TOKENS = 512  # of a caption; transformers has no limit, T5 was trained with this one
DROPOUT = {"text": 0.3, "melody": 0.2}  # MusicGen, section 3.1
TEXT = "text"  # the T5's folder in the model folder
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model", "added_tokens.json")
PROJECTIONS = {"text": "enc_to_dec_proj", "melody": "audio_enc_to_dec_proj"}
STEM = "decoder.model.decoder"
BLOCK = {
    "self_norm": ["self_attn_layer_norm"],
    "self_attention.inward": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "self_attention.outward": ["self_attn.out_proj"],
    "cross_norm": ["encoder_attn_layer_norm"],
    "cross_attention.query": ["encoder_attn.q_proj"],
    "cross_attention.key_value": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
    "cross_attention.outward": ["encoder_attn.out_proj"],
    "feedforward_norm": ["final_layer_norm"],
    "expand": ["fc1"],
    "contract": ["fc2"],
}
"""A part of a block, and the parts of a layer there whose rows it joins"""


class DecoderSettings(BaseModel):
    """The part of a decoder's settings that matters here; the defaults are those of transformers."""

    vocab_size: int = 2048
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    ffn_dim: int = 4096
    activation_function: str = "gelu"
    num_codebooks: int = 4
    audio_channels: int = 1
    pad_token_id: int = 2048
    bos_token_id: int = 2048
    cross_attention_hidden_size: int | None = None


class TextSettings(BaseModel):
    """Of a T5."""

    model_type: Literal["t5"]
    d_model: int = 512


class Settings(BaseModel):
    """The `config.json` of a MusicGen."""

    model_type: Literal["musicgen", "musicgen_melody"]
    decoder: DecoderSettings = DecoderSettings()
    audio_encoder: EncodecSettings
    text_encoder: TextSettings
    num_chroma: int = 12
    chroma_length: int = 235


def load(source: str) -> Language:
    """Return the language model of a folder or hub id, with its codec and its encoders.

    Raises `CheckpointError`, `ConfigError`.
    """
    folder = huggingface.fetch(source, ["*.json", "*.safetensors", "*.model"])
    found = huggingface.read_settings(folder / CONFIG, Settings, "a MusicGen")
    parts = split(huggingface.read_weights(folder))
    codec = huggingface.codec(found.audio_encoder, parts["audio_encoder"], source)
    _check(found, codec, source)
    try:
        config = validate(LMConfig, settings(found, codec.frame_rate), source)
    except ConfigError as error:
        raise CheckpointError(f"The settings of {source} are none that a language model can have. {error}") from error
    with torch.device("meta"):
        model = LM(config)
    own = own_names(parts["decoder"], config, source)
    check_fit(source, model.state_dict(), own)
    model.load_state_dict(own, assign=True)
    encoders: dict[str, EncoderConfig] = {"text": T5Config(kind="t5", name=TEXT, max_tokens=MAX_TOKENS)}
    if "melody" in config.conditions:
        encoders = {"melody": _chroma(found, codec.sample_rate), **encoders}
    return Language(model.eval(), codec, encoders, _text(folder, parts["text_encoder"]))


def split(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Sort tensors by the part of the model: the codec's and the T5's without prefix, all else is the decoder's."""
    parts: dict[str, dict[str, Tensor]] = {"audio_encoder": {}, "text_encoder": {}, "decoder": {}}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        if prefix in ("audio_encoder", "text_encoder"):
            parts[prefix][rest] = tensor
        elif not name.endswith("embed_positions.weights"):  # sinusoids, which older checkpoints hold
            parts["decoder"][name] = tensor.float()
    return parts


def settings(found: Settings, frame_rate: float) -> dict[str, Any]:
    """Return what an `LMConfig` calls these settings.

    A melody model is told all before the audio, the melody first. Its missing melody is not silence: transformers puts
    the first pitch class into every frame.
    """
    decoder, melody = found.decoder, found.model_type == "musicgen_melody"
    text = {"width": found.text_encoder.d_model, "dropout": DROPOUT["text"]}
    chroma = {"width": found.num_chroma, "dropout": DROPOUT["melody"], "null_length": found.chroma_length}
    delays = [k // decoder.audio_channels for k in range(decoder.num_codebooks)]
    return {
        "codebooks": decoder.num_codebooks,
        "channels": decoder.audio_channels,
        "bins": decoder.vocab_size,
        "max_frames": round(SECONDS * frame_rate),
        "pattern": "delay" if decoder.audio_channels == 1 else delays,
        "width": decoder.hidden_size,
        "layers": decoder.num_hidden_layers,
        "heads": decoder.num_attention_heads,
        "feedforward": decoder.ffn_dim / decoder.hidden_size,
        "positions": "sinusoidal",
        "embedding": "sum",
        "conditions": {"melody": chroma | {"fuse": ["prepend"]}, "text": text | {"fuse": ["prepend"]}}
        if melody
        else {"text": text | {"fuse": ["cross"]}},
    }


def own_names(tensors: Mapping[str, Tensor], config: LMConfig, where: str) -> dict[str, Tensor]:
    """Return the decoder's tensors under the names that they have in an `LM`.

    transformers hides a caption by projected states of zero that are masked: cross-attention then adds nothing, as to
    one null of zeros. Raises `CheckpointError`.
    """
    left = dict(tensors)
    try:
        own = {ours: torch.cat([left.pop(name) for name in theirs]) for ours, theirs in _sources(config).items()}
    except KeyError as error:
        raise CheckpointError(f"{where} lacks {error.args[0]}; copy or save it again.") from error
    for name, condition in config.conditions.items():
        stem = PROJECTIONS[name]  # it is missing where the states are of the model's width already
        weight = left.pop(f"{stem}.weight", torch.eye(config.width, condition.width))
        bias = left.pop(f"{stem}.bias", torch.zeros(config.width))
        own |= {f"projections.{name}.weight": weight, f"projections.{name}.bias": bias}
        own[f"nulls.{name}"] = torch.zeros(config.width) if name == "text" else weight[:, 0] + bias
    return own | left


def _sources(config: LMConfig) -> dict[str, list[str]]:
    """Tell which tensors are joined, row after row, to each of ours."""
    books = range(config.codebooks)
    crossed = any("cross" in condition.fuse for condition in config.conditions.values())
    norms = {f"decoder.norm.{part}": [f"{STEM}.layer_norm.{part}"] for part in ("weight", "bias")}
    found = {
        "embedding.weight": [f"{STEM}.embed_tokens.{k}.weight" for k in books],
        "heads.weight": [f"decoder.lm_heads.{k}.weight" for k in books],
    }
    for i in range(config.layers):
        for ours, theirs in BLOCK.items():
            if crossed or not ours.startswith("cross"):
                for part in ("weight", "bias") if ours.endswith("norm") else ("weight",):
                    names = [f"{STEM}.layers.{i}.{name}.{part}" for name in theirs]
                    found[f"decoder.blocks.{i}.{ours}.{part}"] = names
    return found | norms


def _check(found: Settings, codec: Codec, where: str) -> None:
    """Refuse what changes the result and what no model here can do."""
    decoder = found.decoder
    refuse(
        where,
        {
            "decoder.activation_function": (decoder.activation_function, "gelu"),
            "decoder.pad_token_id": (decoder.pad_token_id, decoder.vocab_size),
            "decoder.bos_token_id": (decoder.bos_token_id, decoder.vocab_size),
            "decoder.cross_attention_hidden_size": (decoder.cross_attention_hidden_size, None),
            "decoder.num_codebooks": (decoder.num_codebooks, decoder.audio_channels * codec.codebooks),
            "decoder.vocab_size": (decoder.vocab_size, codec.bins),
        },
    )


def _chroma(found: Settings, sample_rate: int) -> ChromaConfig:
    """Describe the chromagrams of MusicgenMelodyFeatureExtractor, cut or repeated to the model's length."""
    made = ChromaConfig(kind="chroma", sample_rate=sample_rate, window=2**14, bins=found.num_chroma)
    return made.model_copy(update={"seconds": (found.chroma_length - 0.5) * made.hop / sample_rate})


def _text(folder: Path, tensors: Mapping[str, Tensor]) -> Callable[[Path], None]:
    """Return what writes the T5 into a model folder. Raises `CheckpointError` where the tokenizer is missing."""
    tokenizer = [folder / name for name in TOKENIZER if (folder / name).is_file()]
    if not {"tokenizer.json", "spiece.model"} & {file.name for file in tokenizer}:
        raise CheckpointError(f"{folder} has no tokenizer.json and no spiece.model: save the processor there, too.")
    config = json.loads((folder / CONFIG).read_text())["text_encoder"]
    return partial(_write_text, config, tensors, tokenizer)


def _write_text(config: dict[str, Any], tensors: Mapping[str, Tensor], tokenizer: list[Path], folder: Path) -> None:
    (folder / TEXT).mkdir()
    (folder / TEXT / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    safetensors.torch.save_file(dict(tensors), folder / TEXT / WEIGHTS, metadata={"format": "pt"})
    for file in tokenizer:
        shutil.copy2(file, folder / TEXT / file.name)
