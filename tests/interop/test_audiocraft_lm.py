"""AudioCraft's language models: its layout, and its transformer written once more as the oracle."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from t2a.conditions.encoders import EncodersFile
from t2a.conditions.melody import ChromaConfig
from t2a.conditions.text import T5Config
from t2a.errors import CheckpointError, ConfigError
from t2a.interop import audiocraft_lm
from t2a.interop.language import convert
from t2a.models.codec import Codec, CodecConfig
from t2a.models.lm import LM
from t2a.nn.condition import Condition
from t2a.nn.quantize import QuantizerConfig
from t2a.tokens.patterns import layout
from tests.interop.released import CONFIG, HEADS, MELODY, exported, melody_state, state


class Reference:
    """AudioCraft's LMModel over its state dict: sum of embeddings, sinusoids over all positions, pre-norm blocks."""

    def __init__(self, state: dict[str, Tensor]):
        self.state = state
        self.layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("transformer.layers."))

    def condition(self, name: str, tokens: Tensor, mask: Tensor) -> Tensor:
        stem = f"condition_provider.conditioners.{name}.output_proj"
        return F.linear(tokens, self.state[f"{stem}.weight"], self.state[f"{stem}.bias"]) * mask[..., None]

    def norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias

    def attention(self, name: str, x: Tensor, source: Tensor, causal: bool) -> Tensor:
        width = x.shape[-1]
        weight = self.state[f"{name}.in_proj_weight"]
        q, k, v = (
            F.linear(y, weight[i * width : (i + 1) * width]).reshape(*y.shape[:2], HEADS, width // HEADS)
            for i, y in enumerate((x, source, source))
        )
        scores = torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(width // HEADS)
        if causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -math.inf)
        mixed = torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v).flatten(2)
        return F.linear(mixed, self.state[f"{name}.out_proj.weight"])

    def __call__(self, codes: Tensor, prepend: list[Tensor], cross: list[Tensor]) -> Tensor:
        codebooks, steps = codes.shape[1:]
        x = sum(self.state[f"emb.{k}.weight"][codes[:, k]] for k in range(codebooks))
        for condition in prepend:
            x = torch.cat([condition, x], dim=1)
        half = x.shape[-1] // 2
        phase = torch.arange(x.shape[1])[:, None] / 10000 ** (torch.arange(half) / (half - 1))
        x = x + torch.cat([phase.cos(), phase.sin()], dim=-1)
        for i in range(self.layers):
            stem = f"transformer.layers.{i}"
            normed = self.norm(f"{stem}.norm1", x)
            x = x + self.attention(f"{stem}.self_attn", normed, normed, causal=True)
            if cross:
                normed = self.norm(f"{stem}.norm_cross", x)
                x = x + self.attention(f"{stem}.cross_attention", normed, torch.cat(cross, dim=1), causal=False)
            hidden = F.linear(self.norm(f"{stem}.norm2", x), self.state[f"{stem}.linear1.weight"])
            hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
            x = x + F.linear(hidden, self.state[f"{stem}.linear2.weight"])
        x = self.norm("out_norm", x)[:, -steps:]
        return torch.stack([F.linear(x, self.state[f"linears.{k}.weight"]) for k in range(codebooks)], dim=1)


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> str:
    torch.manual_seed(0)
    quantizer = QuantizerConfig(codebooks=4, bins=128)
    config = CodecConfig(sample_rate=32000, filters=2, ratios=(8, 5, 4, 4), dimension=4, quantizer=quantizer)
    Codec(config).save_pretrained(folder := tmp_path_factory.mktemp("codec"))
    return str(folder)


def imported(folder: Path, codec: str, **options) -> LM:
    convert(lambda: audiocraft_lm.load(audiocraft_lm.find(folder), codec=codec, **options), str(folder / "out"))
    return LM.from_pretrained(folder / "out")


def some_codes(model: LM, rows: int, frames: int = 9) -> Tensor:
    """Codes in delay's layout behind the special column."""
    codes = torch.randint(0, model.config.bins, (rows, model.config.codebooks, frames))
    placed = layout(model.config.pattern, model.config.codebooks, frames).build(codes, model.special)
    return torch.cat([torch.full_like(placed[:, :, :1], model.special), placed[:, :, :-1]], dim=2)


def some_states(rows: int, length: int, width: int) -> Condition:
    return Condition(torch.randn(rows, length, width), torch.ones(rows, length, dtype=torch.bool))


@torch.no_grad()
@pytest.mark.parametrize("name", ["lm_audiogen", "lm_musicgen"])
def test_a_model_that_attends_to_text_has_audiocraft_s_logits(name, codec, tmp_path):
    theirs, ours = state(name), imported(exported(tmp_path, state(name)), codec)
    text = some_states(2, 5, ours.config.conditions["text"].width)
    codes, reference = some_codes(ours, 2), Reference(theirs)
    expected = reference(codes, [], [reference.condition("description", *text)])
    torch.testing.assert_close(ours(codes, {"text": text}), expected, rtol=0, atol=1e-4)
    hidden = reference(codes, [], [reference.condition("description", text.tokens, text.mask & False)])
    torch.testing.assert_close(ours(codes), hidden, rtol=0, atol=1e-4)
    assert not torch.allclose(hidden, expected, atol=1e-2)


@torch.no_grad()
def test_a_melody_model_has_audiocraft_s_logits(codec, tmp_path):
    theirs, ours = melody_state(), imported(exported(tmp_path, melody_state(), MELODY), codec)
    assert list(ours.config.conditions) == ["melody", "text"]
    text, melody = some_states(2, 5, ours.config.conditions["text"].width), some_states(2, 7, 12)
    codes, reference = some_codes(ours, 2), Reference(theirs)
    prefix = [reference.condition("description", *text), reference.condition("self_wav", *melody)]
    expected = reference(codes, prefix, [])
    torch.testing.assert_close(ours(codes, {"text": text, "melody": melody}), expected, rtol=0, atol=1e-4)
    assert not torch.allclose(reference(codes, prefix[::-1], []), expected, atol=1e-3)  # their order tells
    hidden = [prefix[0], torch.zeros(2, 235, 64)]  # a missing melody is as long as any
    torch.testing.assert_close(ours(codes, {"text": text}), reference(codes, hidden, []), rtol=0, atol=1e-4)


STEREO = CONFIG | {
    "codebooks_pattern": {"modeling": "delay", "delay": {"delays": [0, 0, 1, 1, 2, 2, 3, 3]}},
    "interleave_stereo_codebooks": {"use": True, "per_timestep": False},
}


@torch.no_grad()
def test_a_stereo_model_has_left_and_right_codes_of_one_codec(codec, tmp_path):
    theirs, ours = state("lm_musicgen", 8), imported(exported(tmp_path, state("lm_musicgen", 8), STEREO), codec)
    assert (ours.config.codebooks, ours.config.channels) == (8, 2)
    assert ours.config.pattern == (0, 0, 1, 1, 2, 2, 3, 3)
    text, codes, reference = some_states(2, 5, 48), some_codes(ours, 2), Reference(theirs)
    expected = reference(codes, [], [reference.condition("description", *text)])
    torch.testing.assert_close(ours(codes, {"text": text}), expected, rtol=0, atol=1e-4)


def test_a_codec_of_other_codes_is_refused(codec, tmp_path):
    exported(tmp_path, state("lm_musicgen", 8))
    with pytest.raises(ConfigError, match=r"8 codebooks of 128 codes .* its codec has 4 of 128: give --codec"):
        audiocraft_lm.load(audiocraft_lm.find(tmp_path), codec=codec)
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        imported(tmp_path, codec)


@torch.no_grad()
def test_generation_step_by_step_has_the_same_logits(codec, tmp_path):
    ours = imported(exported(tmp_path, melody_state(), MELODY), codec)
    conditions = {"text": some_states(1, 5, 48), "melody": some_states(1, 7, 12)}
    codes = some_codes(ours, 1)
    begun = ours.start(conditions, 1, codes.shape[2])
    steps = [ours.advance(codes[:, :, i : i + 1], begun) for i in range(codes.shape[2])]
    torch.testing.assert_close(torch.cat(steps, dim=2), ours(codes, conditions), rtol=0, atol=1e-4)


def test_what_the_configuration_says_is_kept(codec, tmp_path):
    config = imported(exported(tmp_path, melody_state(), MELODY), codec).config
    assert (config.codebooks, config.bins, config.width, config.layers, config.heads) == (4, 128, 64, 2, HEADS)
    assert (config.max_frames, config.pattern, config.embedding, config.feedforward) == (1500, "delay", "sum", 4)
    assert {name: (c.width, c.fuse, c.dropout) for name, c in config.conditions.items()} == {
        "melody": (12, ("prepend",), 0.0),
        "text": (48, ("prepend",), 0.3),
    }
    encoders = EncodersFile.read(tmp_path / "out").encoders
    assert encoders["text"] == T5Config(kind="t5", name="google-t5/t5-base", max_tokens=512)
    assert encoders["melody"] == ChromaConfig(kind="chroma", sample_rate=32000, window=2**14, seconds=30.0)
    assert Codec.from_pretrained(tmp_path / "out" / "codec").sample_rate == 32000


def test_without_a_configuration_a_model_is_taken_for_a_released_one(codec, tmp_path):
    config = imported(exported(tmp_path, state("lm_musicgen"), None), codec, text="/models/t5").config
    assert config.heads == 1  # of 64, as in all that were released
    assert config.conditions["text"].fuse == ("cross",)
    assert EncodersFile.read(tmp_path / "out").encoders["text"].name == "/models/t5"
    exported(tmp_path, melody_state(), None)
    found = audiocraft_lm.load(audiocraft_lm.find(tmp_path), codec=codec)
    assert {name: c.fuse for name, c in found.model.config.conditions.items()} == {
        "melody": ("prepend",),
        "text": ("prepend",),
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"transformer_lm": {"positional_embedding": "rope"}}, "transformer_lm.positional_embedding is rope"),
        ({"transformer_lm": {"norm_first": False}}, "transformer_lm.norm_first is False"),
        ({"fuser": {"sum": ["description"]}}, r"fuser.sum is \['description'\]"),
        ({"codebooks_pattern": {"modeling": "unroll"}}, "codebooks_pattern.modeling is unroll"),
        ({"transformer_lm": {"num_heads": 5}}, "multiple of 2 . heads"),
    ],
)
def test_a_configuration_that_no_model_here_has_is_refused(changes, told, codec, tmp_path):
    exported(tmp_path, state("lm_musicgen"), CONFIG | changes)
    with pytest.raises(CheckpointError, match=told):
        audiocraft_lm.load(audiocraft_lm.find(tmp_path), codec=codec)


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: without(s, "transformer.layers.1.norm1.bias"), r"1 missing \(decoder.blocks.1.self_norm.bias\)"),
        (lambda s: s | {"transformer.layers.0.layer_scale_1.scale": torch.ones(64)}, r"1 unexpected .*layer_scale_1"),
        (lambda s: without(s, "linears.2.weight"), "lacks linears.2.weight"),
        (lambda s: without(s, "transformer.layers.0.linear1.weight"), "lacks the layers"),
        (
            lambda s: s | {"condition_provider.conditioners.genre.output_proj.weight": torch.ones(64, 8)},
            "is told genre, t2a knows description, self_wav",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_written(change, told, codec, tmp_path):
    exported(tmp_path, change(state("lm_musicgen")))
    with pytest.raises(CheckpointError, match=told):
        imported(tmp_path, codec)
    assert not (tmp_path / "out").exists()


def test_a_missing_codec_is_asked_for_and_one_that_is_pointed_to_is_sought(tmp_path, monkeypatch):
    exported(tmp_path, state("lm_musicgen"))
    with pytest.raises(ConfigError, match=r"no compression_state_dict.bin .*give --codec"):
        audiocraft_lm.load(audiocraft_lm.find(tmp_path))
    torch.save({"pretrained": "facebook/encodec_32khz"}, tmp_path / "compression_state_dict.bin")
    sought = []
    monkeypatch.setattr(audiocraft_lm.huggingface, "load", lambda name: sought.append(name) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        audiocraft_lm.load(audiocraft_lm.find(tmp_path))
    assert sought == ["facebook/encodec_32khz"]


def test_what_is_no_language_model_is_not_taken_for_one(tmp_path):
    assert audiocraft_lm.find(tmp_path) is None
    torch.save({"best_state": {"encoder.model.0.conv.conv.bias": torch.zeros(2)}}, tmp_path / "state_dict.bin")
    assert audiocraft_lm.find(tmp_path) is None
    assert audiocraft_lm.find(tmp_path / "nowhere.bin") is None
