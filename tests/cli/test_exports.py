import pytest
import torch
from typer.testing import CliRunner

from t2a.audio import torchaudio_backend  # noqa: F401  makes torchaudio importable for diffusers
from t2a.cli import app
from t2a.models.denoiser import ConditionConfig, Denoiser, DenoiserConfig
from t2a.models.unet import UNetConfig
from tests.generate.tiny import DIT

TOLD = {"text": ConditionConfig(width=6)}
UNET = UNetConfig(width=8, multipliers=(1, 2), blocks=1, heads=2, groups=4, context=10)


def saved(folder, **changes) -> Denoiser:
    torch.manual_seed(0)
    model = Denoiser(DenoiserConfig(**{"latent": (2, 4), "max_frames": 8, "conditions": TOLD, **changes})).eval()
    for parameter in model.parameters():  # layers that begin at zero would hide what the others do
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("axis", ["--time-first", "--time-last"])
@torch.no_grad()
def test_an_exported_unet_says_in_diffusers_what_it_says_here(axis, tmp_path):
    from diffusers import UNet2DConditionModel

    model = saved(tmp_path / "model", network=UNET)
    made = CliRunner().invoke(app, ["export", "unet", f"{tmp_path}/model", f"{tmp_path}/unet", axis])
    assert made.exit_code == 0, made.output
    theirs = UNet2DConditionModel.from_pretrained(tmp_path / "unet").eval()
    x, t = torch.randn(2, 2, 4, 8), torch.tensor([3.0, 700.0])
    null = model.nulls["text"].expand(2, 1, -1)
    found = theirs(x.mT if axis == "--time-first" else x, t, null).sample
    expected = model(x, t)
    assert expected.std() > 0.1
    torch.testing.assert_close(found.mT if axis == "--time-first" else found, expected, atol=1e-4, rtol=1e-4)


def test_a_network_that_is_none_is_refused_and_nothing_is_written(tmp_path):
    saved(tmp_path / "model", latent=(3,), network=DIT)
    told = CliRunner().invoke(app, ["export", "unet", f"{tmp_path}/model", f"{tmp_path}/unet"])
    assert told.exit_code
    assert "The network is a dit" in str(told.exception)
    assert not (tmp_path / "unet").exists()
