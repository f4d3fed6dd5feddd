"""State dicts of AudioCraft's language models: the released ones' names, smaller shapes, random numbers."""

import math
import re
from pathlib import Path

import torch
import yaml
from torch import Tensor

KEYS = Path(__file__).parent / "keys"
SMALLER, HEADS = 16, 4
CONFIG = {
    "sample_rate": 32000,
    "dataset": {"segment_duration": 30},
    "transformer_lm": {"num_heads": HEADS, "positional_embedding": "sin", "activation": "gelu", "norm_first": True},
    "codebooks_pattern": {"modeling": "delay", "delay": {"delays": [0, 1, 2, 3], "flatten_first": 0}},
    "fuser": {"cross_attention_pos_emb": False, "sum": [], "prepend": [], "cross": ["description"]},
    "conditioners": {"description": {"model": "t5", "t5": {"name": "t5-base"}}},
    "classifier_free_guidance": {"training_dropout": 0.3},
}
MELODY = CONFIG | {
    "fuser": {"prepend": ["self_wav", "description"], "cross": []},
    "conditioners": CONFIG["conditioners"]
    | {"self_wav": {"model": "chroma_stem", "chroma_stem": {"n_chroma": 12, "radix2_exp": 14}}},
}


def state(layout: str, codebooks: int = 4) -> dict[str, Tensor]:
    """Random tensors of a released model's names, of its first two layers, sixteen times smaller."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for line in (KEYS / f"{layout}.txt").read_text().splitlines():
        name, shape, _ = line.split("\t")
        sizes = [int(size) // SMALLER + int(size) % SMALLER for size in re.findall(r"\d+", shape)]
        scale = 1.0 if name.startswith("emb") else 1 / math.sqrt(sizes[-1])
        made[name] = scale * torch.randn(sizes, generator=generator)
    for k in range(4, codebooks):
        made |= {f"emb.{k}.weight": made[f"emb.{k - 4}.weight"].flip(1)}
        made |= {f"linears.{k}.weight": made[f"linears.{k - 4}.weight"].flip(0)}
    return made


def melody_state() -> dict[str, Tensor]:
    """The melody variant attends to nothing: all that it is told stands before the audio."""
    made = {name: tensor for name, tensor in state("lm_musicgen").items() if "cross" not in name}
    generator = torch.Generator().manual_seed(1)
    projection = {"weight": torch.randn(64, 12, generator=generator), "bias": torch.randn(64, generator=generator)}
    return made | {f"condition_provider.conditioners.self_wav.output_proj.{n}": t for n, t in projection.items()}


def exported(folder: Path, state: dict[str, Tensor], config: dict | None = CONFIG) -> Path:
    """Write a language model as AudioCraft exports it."""
    text = None if config is None else yaml.safe_dump(config)
    torch.save({"best_state": state, "xp.cfg": text, "version": "1.4", "exported": True}, folder / "state_dict.bin")
    return folder
