"""Parity with diffusers' AutoencoderKL, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import t2a.audio.torchaudio_backend  # noqa: F401, before diffusers, which asks whether torchaudio is whole
from t2a.audio.spectral import MelSpec
from t2a.cli import app
from t2a.errors import CheckpointError, ConfigError
from t2a.interop import diffusers_vae
from t2a.models.autoencoder import Autoencoder

MEL = MelSpec(n_mels=16, log="ln")
FILE = "diffusion_pytorch_model.safetensors"
# Of the shapes of AudioLDM's and of Make-An-Audio's, with fewer channels.
AUDIOLDM = {"block_out_channels": [8, 16, 32], "latent_channels": 8, "attention": 0, "scaling_factor": 0.9}
PAPER = {"block_out_channels": [8, 16, 16, 32], "latent_channels": 4, "attention": 2, "scaling_factor": 1.0}


def oracle(block_out_channels, attention, **changes):
    """diffusers' model with attention in the last so many stages, all of its weights at random."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    stages = len(block_out_channels)
    down = ["DownEncoderBlock2D"] * (stages - attention) + ["AttnDownEncoderBlock2D"] * attention
    settings = {
        "in_channels": 1,
        "out_channels": 1,
        "down_block_types": down,
        "up_block_types": [name.replace("DownEncoder", "UpDecoder") for name in reversed(down)],
        "block_out_channels": block_out_channels,
        "layers_per_block": 2,
        "norm_num_groups": 4,
    }
    model = AutoencoderKL(**settings | changes).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("time_first", [True, False])
@pytest.mark.parametrize("shape", [AUDIOLDM, PAPER], ids=["audioldm", "paper"])
@torch.no_grad()
def test_it_computes_what_diffusers_computes(shape, time_first, tmp_path):
    theirs = oracle(**shape)
    theirs.save_pretrained(tmp_path / "vae")
    ours = diffusers_vae.load(str(tmp_path), MEL, time_first=time_first)
    mel = torch.randn(2, 16, 40)
    turn = (lambda x: x.mT) if time_first else (lambda x: x)
    expected = theirs.encode(turn(mel[:, None])).latent_dist
    mean, logvar = ours.posterior(mel)
    torch.testing.assert_close(mean, turn(expected.mean), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logvar, turn(expected.logvar), rtol=1e-4, atol=1e-4)
    z = ours.encode(mel)
    torch.testing.assert_close(z, shape["scaling_factor"] * mean)
    decoded = turn(theirs.decode(turn(z) / shape["scaling_factor"]).sample)[:, 0]
    torch.testing.assert_close(ours.decode(z), decoded, rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@torch.no_grad()
def test_old_names_and_a_written_folder_are_read(tmp_path):
    oracle(**AUDIOLDM).save_pretrained(tmp_path / "vae")
    expected = diffusers_vae.load(str(tmp_path / "vae"), MEL)
    tensors = load_file(tmp_path / "vae" / FILE)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, name in old.items():
        for key in [key for key in tensors if f".{new}." in key]:
            tensors[key.replace(new, name)] = tensors.pop(key)
    save_file(tensors, tmp_path / "vae" / FILE)
    told = diffusers_vae.convert(lambda: diffusers_vae.load(str(tmp_path / "vae"), MEL), str(tmp_path / "out"))
    assert told.endswith("16 mel bands of 16,000 Hz, 15.625 latent frames/s of 8 x 4")
    again, mel = Autoencoder.from_pretrained(tmp_path / "out"), torch.randn(1, 16, 20)
    assert torch.equal(again.encode(mel), expected.encode(mel))
    with pytest.raises(ConfigError, match="is there already"):
        diffusers_vae.convert(lambda: expected, str(tmp_path / "out"))


def test_what_it_does_not_know_is_refused(tmp_path):
    oracle(**AUDIOLDM).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"in_channels": 3}, "in_channels is 3, t2a knows 1 only"),
        ({"mid_block_add_attention": False}, "mid_block_add_attention is False"),
        ({"up_block_types": ["UpDecoderBlock2D"] * 2 + ["AttnUpDecoderBlock2D"]}, "up_block_types is"),
        ({"latent_channels": 4}, "tensors .* do not fit"),
        ({"norm_num_groups": 3}, "none that an autoencoder can have"),
        ({"layers_per_block": "two"}, "does not describe an AutoencoderKL"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(CheckpointError, match=message):
            diffusers_vae.load(str(tmp_path), MEL)
    (tmp_path / FILE).unlink()
    with pytest.raises(CheckpointError, match="holds no config"):
        diffusers_vae.load(str(tmp_path))


def test_the_command_takes_the_spectrogram_from_a_file(tmp_path):
    oracle(**AUDIOLDM).save_pretrained(tmp_path / "vae")
    (tmp_path / "mel.yaml").write_text("rate: 16000\nhop: 200\nn_mels: 16\nlog: ln\n")
    arguments = [
        "import",
        "autoencoder",
        str(tmp_path),
        f"{tmp_path}/out",
        "--mel",
        f"{tmp_path}/mel.yaml",
        "--time-last",
    ]
    made = CliRunner().invoke(app, arguments)
    assert made.exit_code == 0, made.output
    assert "20 latent frames/s of 8 x 4" in " ".join(made.output.split())
    assert Autoencoder.from_pretrained(tmp_path / "out").config.mel.hop == 200
