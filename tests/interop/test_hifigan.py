"""HiFi-GANs of other projects: equal waves, whatever way the weights are saved, and what is refused."""

import json

import pytest
import torch
from typer.testing import CliRunner

from t2a.audio import torchaudio_backend  # noqa: F401  makes torchaudio importable for transformers
from t2a.cli import app
from t2a.errors import CheckpointError
from t2a.interop import hifigan
from t2a.models.vocoder import load_vocoder

SHAPES = {
    "AudioLDM's": {  # a surplus of 11 makes the first stage one sample longer than five a frame
        "model_in_dim": 16,
        "upsample_initial_channel": 32,
        "upsample_rates": [5, 4, 2],
        "upsample_kernel_sizes": [16, 16, 8],
        "normalize_before": False,
    },
    "SpeechT5's": {
        "model_in_dim": 16,
        "upsample_initial_channel": 32,
        "upsample_rates": [4, 4],
        "upsample_kernel_sizes": [8, 8],
        "resblock_kernel_sizes": [3, 5],
        "resblock_dilation_sizes": [[1, 3], [1, 5]],
    },
}


@torch.no_grad()
def build(shape: str):
    """A SpeechT5HifiGan with weights that keep a signal's level."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    random = torch.Generator().manual_seed(0)
    model = SpeechT5HifiGan(SpeechT5HifiGanConfig(**SHAPES[shape])).eval()
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 3:
            tensor.copy_(torch.randn(tensor.shape, generator=random) / tensor[0].numel() ** 0.5)
        elif name != "scale":
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=random))
    model.scale.copy_(0.5 + torch.rand(16, generator=random))
    return model


def mels(frames: int = 20) -> torch.Tensor:
    return torch.randn(2, 16, frames, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_the_wave_is_that_of_transformers(shape, tmp_path):
    model = build(shape)
    model.save_pretrained(tmp_path / "vocoder")
    ours, theirs = hifigan.load(str(tmp_path)), model(mels().mT)
    wave = ours(mels())
    assert wave.shape[-1] == 20 * ours.mel_spec.hop
    assert wave.std() > 0.05
    torch.testing.assert_close(wave[:, 0], theirs[:, : wave.shape[-1]], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.fold()(mels()), wave, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_weights_that_were_saved_with_their_norm_are_the_same(tmp_path):
    model = build("SpeechT5's")
    expected = model(mels().mT)
    model.save_pretrained(tmp_path)
    model.apply_weight_norm()
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert any("parametrizations" in name for name in model.state_dict())
    torch.testing.assert_close(hifigan.load(str(tmp_path))(mels())[:, 0], expected, atol=1e-5, rtol=1e-4)


def release(folder, model, **changes):
    """The files of the authors' release with the tensors of a model of transformers."""
    folder.mkdir(exist_ok=True)
    config = model.config
    settings = {
        "resblock": "1", "num_mels": 16, "n_fft": 64, "hop_size": 16, "win_size": 48, "sampling_rate": 8000, "fmin": 50,
        "fmax": None, "learning_rate": 0.0002, "upsample_initial_channel": 32, "upsample_rates": config.upsample_rates,
        "upsample_kernel_sizes": config.upsample_kernel_sizes, "resblock_kernel_sizes": config.resblock_kernel_sizes,
        "resblock_dilation_sizes": config.resblock_dilation_sizes,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings | changes))
    state = {name.replace("upsampler.", "ups."): value for name, value in model.state_dict().items()}
    state.pop("mean"), state.pop("scale")
    torch.save({"generator": state}, folder / "g_00000001")
    return str(folder)


@torch.no_grad()
def test_the_authors_release_brings_its_spectrogram(tmp_path):
    model = build("SpeechT5's")
    model.config.normalize_before = False
    ours = hifigan.load_released(release(tmp_path, model))
    torch.testing.assert_close(ours(mels())[:, 0], model(mels().mT), atol=1e-5, rtol=1e-4)
    spec = ours.mel_spec
    assert (spec.rate, spec.n_fft, spec.win, spec.hop, spec.n_mels, spec.fmin) == (8000, 64, 48, 16, 16, 50)
    assert (spec.center, spec.log, spec.floor, spec.norm) == (False, "ln", 1e-5, "slaney")


def test_from_the_command_line_what_the_folder_does_not_tell_is_said(tmp_path):
    model = build("SpeechT5's")
    model.save_pretrained(tmp_path / "theirs")
    (tmp_path / "mel.yaml").write_text("{log: log10, fmin: 80, floor: 1e-10, center: true}")
    args = ["import", "huggingface", f"{tmp_path}/theirs", f"{tmp_path}/ours", "--mel", f"{tmp_path}/mel.yaml"]
    made = CliRunner().invoke(app, args)
    assert made.exit_code == 0, made.output
    told = "16 mel bands from 80 to 8000 Hz, n_fft 1024, hop 16, centred, log10 of 1e-10 and more"
    assert told in " ".join(made.output.split())
    assert load_vocoder(tmp_path / "ours").mel_spec.log == "log10"
    source = release(tmp_path / "released", model)
    made = CliRunner().invoke(app, ["import", "hifigan", source, f"{tmp_path}/other"])
    assert made.exit_code == 0, made.output
    assert "from 50 to 4000 Hz" in " ".join(made.output.split())


def test_settings_that_fit_nothing_are_refused(tmp_path):
    model = build("SpeechT5's")
    model.save_pretrained(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match=r"rates .* multiply to 16 samples a frame, but mel.hop is 98"):
        hifigan.load(str(tmp_path / "theirs"), {"hop": 98})
    source = release(tmp_path / "released", model, num_mels=17)
    with pytest.raises(CheckpointError, match=r"conv_pre\.weight_v"):
        hifigan.load_released(source)
    (tmp_path / "released" / "g_00000002").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"one file of a generator .* it holds: g_00000001, g_00000002"):
        hifigan.load_released(source)
