"""Models of the vocos package: equal waves with both paddings, and what is refused."""

import pytest
import torch
import yaml
from typer.testing import CliRunner

from t2a.audio import torchaudio_backend  # noqa: F401  makes torchaudio importable for the package
from t2a.audio.spectral import MelSpectrogram
from t2a.cli import app
from t2a.errors import CheckpointError
from t2a.interop import vocos
from t2a.models.vocoder import load_vocoder

RATE, HOP = 8000, 32


def save(folder, padding: str = "center", n_fft: int = 128, **changes):
    """Write the folder of a small model of random weights, and return the model."""
    from vocos import Vocos

    settings = {
        "feature_extractor": {
            "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
            "init_args": {"sample_rate": RATE, "n_fft": 128, "hop_length": HOP, "n_mels": 16, "padding": padding},
        },
        "backbone": {
            "class_path": "vocos.models.VocosBackbone",
            "init_args": {"input_channels": 16, "dim": 24, "intermediate_dim": 48, "num_layers": 3},
        },
        "head": {
            "class_path": "vocos.heads.ISTFTHead",
            "init_args": {"dim": 24, "n_fft": n_fft, "hop_length": HOP, "padding": padding},
        },
    }
    for name, values in changes.items():
        settings[name] = {
            **settings[name],
            **values,
            "init_args": settings[name]["init_args"] | values.get("init_args", {}),
        }
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    if changes:
        return None
    torch.manual_seed(0)
    model = Vocos.from_hparams(str(folder / "config.yaml")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


@pytest.mark.parametrize(("padding", "n_fft"), [("center", 128), ("same", 128), ("same", 160)])
@torch.no_grad()
def test_spectrogram_and_wave_are_those_of_the_package(padding, n_fft, tmp_path):
    theirs = save(tmp_path / "theirs", padding, n_fft)
    ours = vocos.load(str(tmp_path / "theirs"))
    wave = 0.1 * torch.randn(2, 20 * HOP)
    mel = theirs.feature_extractor(wave)
    torch.testing.assert_close(MelSpectrogram(ours.mel_spec)(wave), mel, atol=1e-4, rtol=1e-4)
    made, expected = ours(mel), theirs.decode(mel)
    assert made.shape == (2, 1, mel.shape[-1] * HOP)
    assert expected.shape[-1] == (mel.shape[-1] - (padding == "center")) * HOP
    torch.testing.assert_close(made[:, 0, : expected.shape[-1]], expected, atol=1e-5, rtol=1e-4)


def test_from_the_command_line_it_becomes_a_folder(tmp_path):
    save(tmp_path / "theirs")
    made = CliRunner().invoke(app, ["import", "vocos", f"{tmp_path}/theirs", f"{tmp_path}/ours"])
    assert made.exit_code == 0, made.output
    assert "a vocoder (vocos) of 0.01 M parameters: 8,000 Hz; it takes 16 mel bands" in " ".join(made.output.split())
    assert load_vocoder(tmp_path / "ours").config.layers == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"feature_extractor": {"class_path": "vocos.feature_extractors.EncodecFeatures"}},
            "EncodecFeatures, t2a knows",
        ),
        ({"head": {"class_path": "vocos.heads.IMDCTSymExpHead"}}, "its head is IMDCTSymExpHead"),
        ({"backbone": {"init_args": {"adanorm_num_embeddings": 4}}}, "adanorm_num_embeddings is 4"),
        ({"head": {"init_args": {"padding": "same"}}}, "head.padding is same"),
        ({"backbone": {"init_args": {"num_layers": "many"}}}, "num_layers"),
    ],
)
def test_what_is_no_vocos_of_mel_spectrograms_is_refused(changes, message, tmp_path):
    save(tmp_path / "theirs", **changes)
    with pytest.raises(CheckpointError, match=message):
        vocos.load(str(tmp_path / "theirs"))


def test_a_pickle_is_read_for_its_tensors_alone(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("code ran",)

    save(tmp_path / "theirs")
    torch.save({"backbone.embed.weight": Trap()}, tmp_path / "theirs" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="no tensors"):
        vocos.load(str(tmp_path / "theirs"))
