"""How well a denoiser foresees latents, and what the right caption is worth."""

from pathlib import Path

import torch

from t2a.conditions.encoders import EncodersFile
from t2a.data.batch import held_out
from t2a.data.rows import LatentsConfig
from t2a.diffusion.masks import MaskConfig
from t2a.evaluate.captions import compared, losses
from t2a.evaluate.evaluation import Evaluation
from t2a.evaluate.generation import made
from t2a.generate.diffusion import DiffusionGenerator
from t2a.models.denoiser import Denoiser
from t2a.tasks.denoiser import DenoiserTaskConfig
from t2a.tasks.latents import check_made_by

BATCH = 16


@torch.inference_mode()
def evaluate_denoiser(
    folder: Path, corpus: str, split: str, rows: int, generated: int = 0, judge: str | None = None, seed: int = 0
) -> Evaluation:
    """Loss of the model's process at fixed times: with its caption, with another's and without any.

    A model that fills gaps is shown nothing for these; its loss where it is shown a part is a figure more.

    `gain/...` are differences within each clip, so that their intervals tell whether they are above 0. For the first
    `generated` captions clips are made and compared, see `t2a.evaluate.generation`; `judge` is a clap that embeds them.
    Raises `ConfigError` for latents of another autoencoder than the denoiser's.
    """
    model = Denoiser.from_pretrained(folder)
    encoders = EncodersFile.read(folder).encoders
    task = DenoiserTaskConfig(
        model=model.config,
        encoders=encoders,
        autoencoder=str(folder / "autoencoder"),
        mask=MaskConfig() if model.config.extra_channels else None,
    ).build()
    data = LatentsConfig(uri=corpus, latent=model.config.latent, crop_frames=model.config.max_frames)
    batches = held_out(data, split, BATCH, 0, 1, rows)
    check_made_by(corpus, folder / "autoencoder", f"the autoencoder beside {folder}")
    figures = compared("loss", losses(task, {"denoiser": model}, batches, "loss"))
    if not generated:
        return Evaluation(figures)
    found, told = made(DiffusionGenerator.from_folder(folder), batches, generated, judge, seed)
    return Evaluation(figures | found, told)
