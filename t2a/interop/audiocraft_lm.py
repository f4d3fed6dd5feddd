"""Import AudioCraft's language models: AudioGen's and MusicGen's `state_dict.bin` with the codec beside it.

The released ones hold AudioCraft's configuration as YAML; what it says that a model here cannot have is refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from t2a.conditions.encoders import EncoderConfig
from t2a.conditions.melody import ChromaConfig
from t2a.conditions.text import T5Config
from t2a.config import validate
from t2a.errors import CheckpointError, ConfigError
from t2a.interop import audiocraft, huggingface, pickles
from t2a.interop.audiocraft import configuration, lookup
from t2a.interop.encodec import refuse
from t2a.interop.language import Language
from t2a.models.codec import Codec
from t2a.models.lm import LM, LMConfig
from t2a.models.pretrained import check_fit

FILE, CODEC = "state_dict.bin", "compression_state_dict.bin"
NAMES = {"description": "text", "self_wav": "melody"}
"""AudioCraft's conditions and what they are called here"""
HEAD_WIDTH = 64
"""of all released models"""
LAYER = re.compile(r"^transformer\.layers\.(\d+)\.(.+)$")
PARTS = {
    "self_attn.in_proj_weight": "self_attention.inward.weight",  # rows [q; k; v], as here
    "self_attn.out_proj.weight": "self_attention.outward.weight",
    "cross_attention.out_proj.weight": "cross_attention.outward.weight",
    "linear1.weight": "expand.weight",
    "linear2.weight": "contract.weight",
    **{f"norm1.{part}": f"self_norm.{part}" for part in ("weight", "bias")},
    **{f"norm_cross.{part}": f"cross_norm.{part}" for part in ("weight", "bias")},
    **{f"norm2.{part}": f"feedforward_norm.{part}" for part in ("weight", "bias")},
}
"""A tensor of a layer, there and here"""


class Package(NamedTuple):
    """What a file holds, and its name for messages."""

    values: Mapping[str, Any]
    path: Path


def find(source: str | Path) -> Package | None:
    """Read the language model in a file or in a folder, if there is one."""
    path = Path(source) / FILE if Path(source).is_dir() else Path(source)
    if not path.is_file():
        return None
    values = pickles.read(path)
    state = _state(values) if isinstance(values, Mapping) else None
    return Package(values, path) if isinstance(state, Mapping) and "emb.0.weight" in state else None


def load(package: Package, *, codec: str | None = None, text: str | None = None) -> Language:
    """Return the language model of a package, with its codec and its encoders.

    codec: a model folder of t2a, in the place of the codec in the folder (which may only point to one of the hub).
    text: the T5 to read captions with, a folder or a name of the hub, in the place of the one that the file names.
    Raises `CheckpointError`, and `ConfigError` where something is missing.
    """
    where = str(package.path)
    config = configuration(package.values.get("xp.cfg"), where)
    state = {k: t.float() for k, t in pickles.tensors(_state(package.values), where).items() if ".chroma." not in k}
    codes = _codec(package.path.parent, codec)
    found = settings(state, config, codes.frame_rate, where)
    _check_codec(codes, found, where)
    encoders = {name: _encoder(name, config, text) for name in found["conditions"]}
    own = own_names(state, where)
    try:
        built = validate(LMConfig, found, where)
    except ConfigError as error:
        raise CheckpointError(f"The settings of {where} are none that a language model can have. {error}") from error
    with torch.device("meta"):
        model = LM(built)
    check_fit(where, model.state_dict(), own)
    model.load_state_dict(own, assign=True)
    return Language(model.eval(), codes, encoders)


def settings(state: Mapping[str, Tensor], config: Mapping[str, Any], frame_rate: float, where: str) -> dict[str, Any]:
    """Return what an `LMConfig` calls the settings that shapes and configuration tell. Raises `CheckpointError`."""
    _refuse_foreign(config, where)
    codebooks = sum(re.fullmatch(r"emb\.\d+\.weight", name) is not None for name in state)
    rows, width = state["emb.0.weight"].shape
    layers = 1 + max((int(match[1]) for name in state if (match := LAYER.match(name))), default=-1)
    if not layers or "transformer.layers.0.linear1.weight" not in state:
        raise CheckpointError(f"{where} lacks the layers of its transformer; copy it again.")
    return {
        "codebooks": codebooks,
        "channels": 2 if lookup(config, "interleave_stereo_codebooks.use", False) else 1,
        "bins": rows - 1,
        "max_frames": round(_number(config, "dataset.segment_duration", 30.0) * frame_rate),
        "pattern": _pattern(config, codebooks, where),
        "width": width,
        "layers": layers,
        "heads": int(_number(config, "transformer_lm.num_heads", width // HEAD_WIDTH)),
        "feedforward": state["transformer.layers.0.linear1.weight"].shape[0] / width,
        "positions": "sinusoidal",
        "embedding": "sum",
        "conditions": _conditions(state, config, where),
    }


def own_names(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the tensors under the names that they have in an `LM`.

    A hidden condition is all zeros in AudioCraft: so are the nulls.
    """
    codebooks = range(sum(re.fullmatch(r"(emb)\.\d+\.weight", name) is not None for name in state))
    left = dict(state)
    own: dict[str, Tensor] = {}
    try:
        own["embedding.weight"] = torch.cat([left.pop(f"emb.{k}.weight") for k in codebooks])
        own["heads.weight"] = torch.cat([left.pop(f"linears.{k}.weight") for k in codebooks])
    except KeyError as error:
        raise CheckpointError(f"{where} lacks {error.args[0]}; copy it again.") from error
    for name, tensor in left.items():
        if match := re.fullmatch(r"condition_provider\.conditioners\.(\w+)\.output_proj\.(weight|bias)", name):
            condition = NAMES.get(match[1], match[1])
            own[f"projections.{condition}.{match[2]}"] = tensor
            own[f"nulls.{condition}"] = torch.zeros(len(tensor))
        elif match := LAYER.match(name):
            own |= _layer(f"decoder.blocks.{match[1]}", match[2], tensor)
        else:
            own[re.sub(r"^out_norm\.", "decoder.norm.", name)] = tensor
    return own


def _layer(block: str, part: str, tensor: Tensor) -> dict[str, Tensor]:
    if part == "cross_attention.in_proj_weight":
        query, key_value = tensor.split([len(tensor) // 3, 2 * (len(tensor) // 3)])
        names = (f"{block}.cross_attention.{name}.weight" for name in ("query", "key_value"))
        return dict(zip(names, (query, key_value), strict=True))
    return {f"{block}.{PARTS.get(part, part)}": tensor}


def _state(values: Mapping[str, Any]) -> Any:
    best = values.get("best_state", values)
    return best.get("model", best) if isinstance(best, Mapping) else best


def _refuse_foreign(config: Mapping[str, Any], where: str) -> None:
    """Refuse what changes the result and what no model here can do."""
    known = {
        "transformer_lm.positional_embedding": "sin",
        "transformer_lm.activation": "gelu",
        "transformer_lm.norm": "layer_norm",
        "transformer_lm.norm_first": True,
        "transformer_lm.causal": True,
        "transformer_lm.past_context": None,
        "transformer_lm.layer_scale": None,
        "transformer_lm.xpos": False,
        "transformer_lm.qk_layer_norm": False,
        "transformer_lm.qk_layer_norm_cross": False,
        "transformer_lm.kv_repeat": 1,
        "fuser.cross_attention_pos_emb": False,
        "fuser.sum": [],
        "fuser.input_interpolate": [],
        "codebooks_pattern.delay.flatten_first": 0,
        "codebooks_pattern.delay.empty_initial": 0,
        "interleave_stereo_codebooks.per_timestep": False,
    }
    refuse(where, {name: (lookup(config, name, value), value) for name, value in known.items()})


def _pattern(config: Mapping[str, Any], codebooks: int, where: str) -> str | list[int]:
    name = lookup(config, "codebooks_pattern.modeling", "delay")
    if name not in ("delay", "parallel"):
        raise CheckpointError(f"{where}: its codebooks_pattern.modeling is {name}, t2a takes delay and parallel only.")
    delays = list(lookup(config, "codebooks_pattern.delay.delays", range(codebooks)))
    return name if name == "parallel" or delays == list(range(codebooks)) else delays


def _conditions(state: Mapping[str, Tensor], config: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """What the model is told, those of a prefix in their order there: AudioCraft puts each before those already there.

    Without a configuration: text is attended to where there is cross-attention, else all stand before the audio.
    """
    pattern = r"condition_provider\.conditioners\.(\w+)\.output_proj\.weight"
    widths = {match[1]: t.shape[1] for name, t in state.items() if (match := re.fullmatch(pattern, name))}
    if foreign := widths.keys() - NAMES.keys():
        raise CheckpointError(f"{where} is told {', '.join(sorted(foreign))}, t2a knows {', '.join(NAMES)} only.")
    crossed = any(".cross_attention." in name for name in state)
    ways = {
        "prepend": lookup(config, "fuser.prepend", [] if crossed else list(widths)),
        "cross": lookup(config, "fuser.cross", list(widths) if crossed else []),
    }
    shares = {
        "description": _number(config, "classifier_free_guidance.training_dropout", 0.1),
        "self_wav": _number(config, "attribute_dropout.wav.self_wav", 0.0),
    }
    # A missing melody keeps its places; a missing caption would keep those of the other captions of its batch.
    places = {"description": 1, "self_wav": _chroma(config).frames or 1}
    return {
        NAMES[name]: {
            "width": widths[name],
            "fuse": [way for way in ways if name in ways[way]],
            "dropout": shares[name],
            "null_length": places[name],
        }
        for name in reversed(NAMES)
        if name in widths
    }


def _encoder(name: str, config: Mapping[str, Any], text: str | None) -> EncoderConfig:
    """The encoder of a condition; AudioCraft reads captions whole, 512 tokens are what T5 was trained with."""
    if name == "text":
        found = text or lookup(config, "conditioners.description.t5.name", "t5-base")
        hub = f"google-t5/{found}" if re.fullmatch(r"t5-\w+", found) and not Path(found).is_dir() else found
        return T5Config(kind="t5", name=hub, max_tokens=512)
    return _chroma(config)


def _chroma(config: Mapping[str, Any]) -> ChromaConfig:
    where = "conditioners.self_wav.chroma_stem"
    whole = bool(lookup(config, f"{where}.match_len_on_eval", True))
    return ChromaConfig(
        kind="chroma",
        sample_rate=int(_number(config, "sample_rate", 32000)),
        window=2 ** int(_number(config, f"{where}.radix2_exp", 14)),
        bins=int(_number(config, f"{where}.n_chroma", 12)),
        seconds=_number(config, "dataset.segment_duration", 30.0) if whole else None,
    )


def _number(config: Mapping[str, Any], path: str, default: float) -> float:
    found = lookup(config, path, default)
    return float(found) if isinstance(found, int | float) else default


def _codec(folder: Path, given: str | None) -> Codec:
    if given is not None:
        return Codec.from_pretrained(given)
    path = folder / CODEC
    if not path.is_file():
        raise ConfigError(f"There is no {CODEC} beside the language model in {folder}: give --codec FOLDER.")
    values = pickles.read(path)
    pointed = values.get("pretrained") if isinstance(values, Mapping) else None
    if pointed is None:
        return audiocraft.load(path)
    try:
        return huggingface.load(str(pointed))
    except CheckpointError as error:
        raise CheckpointError(f"{path} only points to the codec {pointed}: give --codec FOLDER. {error}") from error


def _check_codec(codec: Codec, model: Mapping[str, Any], where: str) -> None:
    """Refuse a codec whose codes are not the model's; of a stereo model it codes left and right one after the other."""
    channels = model["channels"]
    if (model["codebooks"], model["bins"]) != (codec.codebooks * channels, codec.bins):
        raise ConfigError(
            f"The language model of {where} has {model['codebooks']} codebooks of {model['bins']} codes for {channels} "
            f"channel(s), its codec has {codec.codebooks} of {codec.bins}: give --codec FOLDER with its own."
        )
