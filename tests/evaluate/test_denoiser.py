"""A denoiser's loss on held-out latents."""

from pathlib import Path

from t2a.diffusion.masks import MaskConfig
from t2a.evaluate import evaluate
from t2a.models.denoiser import DenoiserConfig
from t2a.models.dit import DiTConfig
from t2a.tasks.denoiser import DenoiserTaskConfig


def test_a_model_that_fills_gaps_is_measured_like_any_other_and_where_it_is_shown_a_part(denoiser, latents, tmp_path):
    network = DiTConfig(width=16, layers=1, heads=2)
    model = DenoiserConfig(latent=(3,), max_frames=12, network=network, extra_channels=4)
    autoencoder = str(Path(denoiser) / "autoencoder")
    task = DenoiserTaskConfig(model=model, autoencoder=autoencoder, mask=MaskConfig()).build()
    task.export({"denoiser": task.networks()["denoiser"].state_dict()}, tmp_path)
    found, plain = (evaluate(where, latents, split="valid", rows=4).figures for where in (str(tmp_path), denoiser))
    filling = "loss/its caption, filling gaps"
    assert set(found) == {*plain, filling}  # the gains are those of captions alone
    assert found["loss/its caption"].count == found[filling].count == 4
