"""Parity with diffusers' AudioLDMPipeline, part by part and from noise to sound, with random weights at small sizes.

Not compared: released weights; clips whose latents are no multiple of the U-Net's coarsest level; the steps that its
scheduler visits by itself ("leading", which never starts from the most noise).
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from t2a.audio.io import probe
from t2a.cli import app
from t2a.diffusion.noise import Noise
from t2a.errors import CheckpointError, ConfigError
from t2a.generate import load
from t2a.interop import audioldm, diffusers_unet, diffusers_vae
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.unet import UNet, UNetConfig
from t2a.nn.condition import Condition
from tests.interop import audioldms

FRAMES, SECONDS = 8, 0.04  # of latents, each 80 samples of 16 kHz
PROMPTS = ["a dog barks.", "rain"]


@pytest.fixture(scope="module")
def theirs():
    return audioldms.build()


@pytest.fixture(scope="module")
def source(theirs, tmp_path_factory) -> Path:
    return Path(audioldms.saved(theirs, tmp_path_factory.mktemp("theirs") / "pipeline"))


@pytest.fixture(scope="module")
def ours(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("ours") / "model"
    told = audioldm.convert(str(source), str(out))
    assert told.endswith("told text by clap_text; 16,000 Hz, 200 latent frames/s of 4 x 4, up to 10.24 s")
    return load(out)


@pytest.fixture
def copied(source, tmp_path) -> Path:
    """One that may be damaged."""
    return Path(shutil.copytree(source, tmp_path / "pipeline"))


def vectors(pipeline, prompts: list[str]) -> torch.Tensor:
    """What the pipeline tells its U-Net, [B, D]."""
    told = pipeline.tokenizer(prompts, padding="max_length", max_length=32, return_tensors="pt")
    return torch.nn.functional.normalize(pipeline.text_encoder(**told).text_embeds, dim=-1)


@torch.no_grad()
def test_captions_and_no_caption_are_the_vectors_of_its_text_encoder(theirs, ours):
    expected = vectors(theirs, [*PROMPTS, ""])
    assert (expected[0] - expected[2]).abs().max() > 0.1
    tokens, mask = ours.encoders.get("text")(PROMPTS)
    assert mask.shape == (2, 1)
    torch.testing.assert_close(tokens[:, 0], expected[:2], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.model.nulls["text"].data, expected[2], atol=1e-5, rtol=0)


@torch.no_grad()
def test_its_noise_predictions_are_those_of_the_pipeline_s_unet(theirs, ours):
    told, x, t = vectors(theirs, PROMPTS), torch.randn(2, 4, 4, FRAMES), torch.tensor([7.0, 950.0])
    given = {"text": Condition(told[:, None], torch.ones(2, 1, dtype=torch.bool))}
    for conditions, labels in ((given, told), (None, vectors(theirs, ["", ""]))):
        expected = theirs.unet(x.mT, t, None, class_labels=labels).sample.mT
        assert expected.std() > 0.1
        torch.testing.assert_close(ours.model(x, t, None, conditions), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_its_spectrograms_and_waves_are_those_of_the_pipeline(theirs, ours):
    z = torch.randn(2, 4, 4, FRAMES)
    expected = theirs.decode_latents(z.mT)
    assert expected.std() > 0.1
    mel = ours.autoencoder.decode(z)
    torch.testing.assert_close(mel, expected[:, 0].mT, atol=1e-4, rtol=1e-4)
    waves = theirs.mel_spectrogram_to_waveform(expected)
    torch.testing.assert_close(ours.vocoder(mel)[:, 0], waves[:, :640], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("steps", [4, 5])
def test_from_the_same_noise_it_makes_the_same_sound(theirs, ours, steps):
    """At those steps, evenly spaced, at which diffusers goes exactly where the next step sets out."""
    noise = Noise([3], (4, 4), [FRAMES])().mT
    how = {"timestep_spacing": "trailing", "set_alpha_to_one": True, "steps_offset": 0}
    pipeline = type(theirs)(**theirs.components | {"scheduler": type(theirs.scheduler)(**audioldms.SCHEDULER | how)})
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": steps, "guidance_scale": 2.5, "output_type": "pt"}
    expected = pipeline(PROMPTS[0], SECONDS + 1e-5, latents=noise, **options).audios
    options = {"seeds": [3], "guidance": 2.5, "sampler": "ddim", "steps": steps}
    found = torch.from_numpy(ours.generate(PROMPTS[:1], SECONDS, **options)[0])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    other = torch.from_numpy(ours.generate(PROMPTS[1:], SECONDS, **options)[0])
    assert (found - other).abs().max() > 0.02


@pytest.mark.parametrize("width", [128, 192, 256])
def test_the_released_sizes_have_as_many_parameters(width):
    """Those of cvssp/audioldm-s-full-v2, -m-full and -l-full."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    widths, attends = [width, 2 * width, 3 * width, 5 * width], ["CrossAttnDownBlock2D"] * 3
    unet = audioldms.UNET | {
        "in_channels": 8, "out_channels": 8, "block_out_channels": widths, "cross_attention_dim": widths,
        "down_block_types": ["DownBlock2D", *attends], "up_block_types": ["CrossAttnUpBlock2D"] * 3 + ["UpBlock2D"],
        "attention_head_dim": 8, "norm_num_groups": 32, "projection_class_embeddings_input_dim": 512,
    }  # fmt: skip
    vae = audioldms.VAE | {"block_out_channels": [128, 256, 512], "latent_channels": 8, "norm_num_groups": 32}
    vae |= {"layers_per_block": 2}
    settings = diffusers_unet.settings(diffusers_unet.Settings(**unet), "here")
    mel = diffusers_vae.AUDIOLDM
    with torch.device("meta"):
        pairs = [
            (UNet2DConditionModel(**unet), UNet(UNetConfig(**settings), (8, 16))),
            (AutoencoderKL(**vae), diffusers_vae.settings(diffusers_vae.Settings(**vae), mel, "here")),
        ]
        pairs[1] = (pairs[1][0], Autoencoder(AutoencoderConfig(**pairs[1][1])))
    for peer, own in pairs:
        assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in peer.parameters()) > 50e6


def test_the_command_makes_a_folder_that_generates_by_itself(copied, tmp_path):
    options = ["--seconds", "0.5", "--mel", f"{tmp_path}/mel.yaml"]
    (tmp_path / "mel.yaml").write_text("fmin: 50\n")
    made = CliRunner().invoke(app, ["import", "audioldm", str(copied), f"{tmp_path}/model", *options])
    assert made.exit_code == 0, made.output
    assert "16,000 Hz, 200 latent frames/s of 4 x 4, up to 0.5 s" in " ".join(made.output.split())
    shutil.rmtree(copied)
    (tmp_path / "model").rename(tmp_path / "moved")
    assert load(tmp_path / "moved").vocoder.mel_spec.fmin == 50
    command = ["generate", f"{tmp_path}/moved", "a dog barks.", "--steps", "2", "--out", f"{tmp_path}/x.wav"]
    said = CliRunner().invoke(app, [*command, "--seconds", "0.1"])
    assert said.exit_code == 0, said.output
    assert probe(tmp_path / "x.wav").seconds == 0.1
    assert "longer than the 0.5 s" in str(CliRunner().invoke(app, [*command, "--seconds", "1"]).exception)


def test_older_files_of_text_will_do(theirs, copied, tmp_path):
    """Without the buffers that transformers saves today, and with a tokenizer's vocabulary in two files."""
    path = copied / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    for name in [name for name in tensors if name.endswith(("position_ids", "token_type_ids"))]:
        del tensors[name]
    save_file(tensors, path, metadata={"format": "pt"})
    words = json.loads((copied / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    (copied / "tokenizer" / "tokenizer.json").unlink()
    (copied / "tokenizer" / "vocab.json").write_text(json.dumps(words))
    (copied / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    audioldm.convert(str(copied), str(tmp_path / "out"))
    found = load(tmp_path / "out").encoders.get("text")(PROMPTS).tokens[:, 0]
    torch.testing.assert_close(found, vectors(theirs, PROMPTS).detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        (
            "model_index.json",
            {"_class_name": "MusicLDMPipeline"},
            "_class_name is MusicLDMPipeline, t2a knows AudioLDM",
        ),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 100}, "scheduler.num_train_timesteps is 100"),
        ("scheduler/scheduler_config.json", {"clip_sample": True}, "scheduler.clip_sample is True"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "describes no process that t2a has"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "sigmoid"}, "describes no process that t2a has"),
        ("unet/config.json", {"class_embed_type": None}, "unet.class_embed_type is None"),
        ("unet/config.json", {"in_channels": 9}, "unet.in_channels is 9, t2a knows 4 only"),
        ("text_encoder/config.json", {"projection_dim": 6}, "unet.projection_class_embeddings_input_dim is 12"),
        ("text_encoder/config.json", {"model_type": "t5"}, "does not describe the text tower of a CLAP"),
    ],
)
def test_what_ours_cannot_do_is_refused_and_nothing_is_left(file, change, told, copied, tmp_path):
    config = json.loads((copied / file).read_text())
    (copied / file).write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=told):
        audioldm.convert(str(copied), str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline"]


def test_a_part_that_is_missing_or_a_pickle_is_named(theirs, copied, tmp_path):
    theirs.unet.save_pretrained(copied / "unet", safe_serialization=False)
    shutil.rmtree(copied / "tokenizer")
    told = r"has no unet/diffusion_pytorch_model.safetensors, tokenizer/tokenizer.json: .* pickles are not read"
    (copied / "unet" / "diffusion_pytorch_model.safetensors").unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=told):
        audioldm.convert(str(copied), str(tmp_path / "out"))


def test_nothing_is_overwritten_and_a_clip_needs_a_frame(source, tmp_path):
    with pytest.raises(ConfigError, match="is there already"):
        audioldm.convert(str(source), str(tmp_path))
    with pytest.raises(ConfigError, match=r"--seconds 0\.001 is no frame"):
        audioldm.convert(str(source), str(tmp_path / "out"), seconds=0.001)
