"""Parity with diffusers' UNet2DConditionModel, in float32, with random weights at small sizes and all its layers.

Not compared: latents whose length is no multiple of the coarsest level's factor, which diffusers stretches on the way
up while ours fills them up and cuts; released weights; half precision.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from t2a.audio import torchaudio_backend  # noqa: F401  makes torchaudio importable for diffusers
from t2a.diffusion.process import DiffusionConfig, FlowConfig
from t2a.errors import CheckpointError, ConfigError
from t2a.interop import diffusers_unet
from t2a.models.denoiser import ConditionConfig, Denoiser, DenoiserConfig
from t2a.models.dit import DiTConfig
from t2a.models.unet import UNetConfig
from t2a.nn.condition import Condition

CROSS, PLAIN = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")
SHARED = {"layers_per_block": 2, "attention_head_dim": 2, "norm_num_groups": 4}
SETTINGS = {
    "make-an-audio": {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "down_block_types": (CROSS[0],) * 2,
        "up_block_types": (CROSS[1],) * 2,
        "cross_attention_dim": 12,
    },
    "stable diffusion, inpainting": {
        "in_channels": 9,
        "out_channels": 4,
        "block_out_channels": (8, 16, 16),
        "down_block_types": (CROSS[0], CROSS[0], PLAIN[0]),
        "up_block_types": (PLAIN[1], CROSS[1], CROSS[1]),
        "transformer_layers_per_block": 2,
        "cross_attention_dim": 12,
        "use_linear_projection": True,
    },
    "audioldm": {
        "in_channels": 8,
        "out_channels": 8,
        "block_out_channels": (8, 16, 24),
        "down_block_types": (PLAIN[0], CROSS[0], CROSS[0]),
        "up_block_types": (CROSS[1], CROSS[1], PLAIN[1]),
        "cross_attention_dim": (8, 16, 24),
        "class_embed_type": "simple_projection",
        "projection_class_embeddings_input_dim": 12,
        "class_embeddings_concat": True,
    },
}
every_kind = pytest.mark.parametrize("kind", SETTINGS)


def peer(kind: str, **changes):
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    model = UNet2DConditionModel(**SHARED | SETTINGS[kind] | changes).eval()
    for name, parameter in model.named_parameters():  # its norms begin as the identity
        if "norm" in name:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.3)
    return model


def load(folder: Path, **options) -> Denoiser:
    return diffusers_unet.load(str(folder), bands=4, max_frames=10, process=DiffusionConfig(), **options)


def theirs(model, x: Tensor, t: Tensor, told: Condition) -> Tensor:
    if model.config.class_embed_type is not None:
        labels = torch.stack([tokens[mask].mean(0) for tokens, mask in zip(*told, strict=True)])
        return model(x, t, None, class_labels=labels).sample
    return model(x, t, told.tokens, encoder_attention_mask=told.mask).sample


def inputs(model: Denoiser, frames: int = 8) -> tuple[Tensor, Tensor, Tensor, Condition]:
    config = model.config
    x = torch.randn(2, *config.latent, frames)
    extra = torch.randn(2, config.extra_channels, *x.shape[2:])
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    return x, extra, torch.tensor([7.0, 950.0]), Condition(torch.randn(2, 5, 12), mask)


@every_kind
@pytest.mark.parametrize("time_first", [False, True])
@torch.no_grad()
def test_an_imported_network_predicts_the_same(kind, time_first, tmp_path):
    other = peer(kind)
    other.save_pretrained(tmp_path / "unet")
    model = load(tmp_path, time_first=time_first)
    x, extra, t, told = inputs(model)
    given = torch.cat([x, extra], dim=1)
    expected = theirs(other, given.mT, t, told).mT if time_first else theirs(other, given, t, told)
    found = model(x, t, None, {"text": told}, extra=extra)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@every_kind
@torch.no_grad()
def test_an_exported_network_is_one_of_diffusers_and_comes_back(kind, tmp_path):
    from diffusers import UNet2DConditionModel

    peer(kind).save_pretrained(tmp_path / "theirs")
    source = load(tmp_path / "theirs")
    torch.nn.init.normal_(source.nulls["text"])
    torch.nn.init.normal_(source.projections["text"].weight)
    diffusers_unet.save(source, tmp_path / "ours")
    other = UNet2DConditionModel.from_pretrained(tmp_path / "ours", low_cpu_mem_usage=False)
    x, extra, t, told = inputs(source)
    projected = Condition(source.projections["text"](told.tokens), told.mask)
    expected = theirs(other, torch.cat([x, extra], dim=1).mT, t, projected).mT
    torch.testing.assert_close(source(x, t, None, {"text": told}, extra=extra), expected, atol=1e-5, rtol=1e-4)
    again = load(tmp_path / "ours")
    assert again.config == source.config
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in again.state_dict().items())
    assert torch.equal(again(x, t), source(x, t))


def test_a_pickle_of_tensors_will_do(tmp_path):
    peer("make-an-audio").save_pretrained(tmp_path / "a")
    peer("make-an-audio").save_pretrained(tmp_path / "b", safe_serialization=False)
    assert not (tmp_path / "b" / diffusers_unet.WEIGHTS).exists()
    found = load(tmp_path / "b").state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in load(tmp_path / "a").state_dict().items())


def test_the_paper_s_sizes_have_its_160_223_684_parameters():
    config = DenoiserConfig(latent=(4, 10), max_frames=78, network=UNetConfig())
    with torch.device("meta"):
        assert sum(p.numel() for p in Denoiser(config).network.parameters()) == 160_223_684


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"act_fn": "gelu"}, "its act_fn is gelu, t2a knows silu only"),
        ({"block_out_channels": (8, 12)}, r"its block_out_channels is \[0, 4\]"),
        ({"class_embed_type": "timestep"}, "its class_embed_type is timestep, t2a knows simple_projection only"),
        ({"attention_head_dim": (2, 4)}, "network.heads"),
        ({"norm_num_groups": 3}, "must be a multiple of groups = 3"),
    ],
)
def test_what_ours_cannot_do_is_refused(change, told, tmp_path):
    (tmp_path / diffusers_unet.WEIGHTS).touch()
    config = json.loads(json.dumps(SHARED | SETTINGS["make-an-audio"] | change))
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=told):
        load(tmp_path)


def test_missing_and_unknown_tensors_are_named(tmp_path):
    import safetensors.torch

    peer("make-an-audio").save_pretrained(tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / diffusers_unet.WEIGHTS)
    first, weights = tensors.pop("conv_in.bias"), tmp_path / diffusers_unet.WEIGHTS
    safetensors.torch.save_file(tensors, weights)
    with pytest.raises(CheckpointError, match=r"lacks conv_in\.bias"):
        load(tmp_path)
    safetensors.torch.save_file(tensors | {"conv_in.bias": first, "more": first.clone()}, weights)
    with pytest.raises(CheckpointError, match=r"1 unexpected \(network.more\)"):
        load(tmp_path)


def test_only_a_unet_is_exported_and_nothing_is_overwritten(tmp_path):
    told = {"text": ConditionConfig(width=3)}
    model = Denoiser(
        DenoiserConfig(latent=(2,), max_frames=5, network=DiTConfig(width=8, heads=2, layers=1), conditions=told)
    )
    with pytest.raises(ConfigError, match="network is a dit: diffusers has no such model"):
        diffusers_unet.save(model, tmp_path / "out")
    untold = UNetConfig(width=8, multipliers=(1,), blocks=1, heads=2, groups=4)
    with pytest.raises(ConfigError, match="told nothing: diffusers has no such"):
        diffusers_unet.save(
            Denoiser(DenoiserConfig(latent=(2, 4), max_frames=5, network=untold, conditions={})), tmp_path / "out"
        )
    peer("make-an-audio").save_pretrained(tmp_path / "theirs")
    with pytest.raises(ConfigError, match="is there already"):
        diffusers_unet.save(load(tmp_path / "theirs"), tmp_path)


def test_the_process_is_the_caller_s_and_the_folder_must_hold_a_network(tmp_path):
    peer("make-an-audio").save_pretrained(tmp_path)
    model = diffusers_unet.load(str(tmp_path), 4, 10, FlowConfig(), condition="sound")
    with pytest.raises(CheckpointError, match=r"holds no config.json with .* nor a folder unet"):
        load(tmp_path.parent)
    assert (model.config.process.kind, list(model.config.conditions)) == ("flow", ["sound"])
