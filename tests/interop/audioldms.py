"""AudioLDMs of diffusers: small, with random weights that have opinions, saved as those of the hub are."""

from pathlib import Path

import torch

from t2a.audio import torchaudio_backend  # noqa: F401  makes torchaudio importable for diffusers

import diffusers  # isort: skip
import transformers  # isort: skip

CHARACTERS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz.", "Ġ"]
UNET = {
    "in_channels": 4, "out_channels": 4, "block_out_channels": (8, 16, 24), "cross_attention_dim": (8, 16, 24),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "layers_per_block": 2,
    "attention_head_dim": 2, "norm_num_groups": 4, "class_embed_type": "simple_projection",
    "projection_class_embeddings_input_dim": 12, "class_embeddings_concat": True, "sample_size": 8,
}  # fmt: skip
VAE = {
    "in_channels": 1, "out_channels": 1, "block_out_channels": [4, 8, 8], "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3,
    "norm_num_groups": 4, "scaling_factor": 0.92,
}  # fmt: skip
VOCODER = {
    "model_in_dim": 16, "sampling_rate": 16000, "upsample_initial_channel": 16, "upsample_rates": [5, 4],
    "upsample_kernel_sizes": [16, 8], "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]],
    "normalize_before": False,
}  # fmt: skip
TEXT = {
    "vocab_size": len(CHARACTERS), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "pad_token_id": 1, "max_position_embeddings": 34, "projection_dim": 12,
}  # fmt: skip
SCHEDULER = {
    "num_train_timesteps": 1000, "beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False, "prediction_type": "epsilon",
}  # fmt: skip


def build() -> diffusers.AudioLDMPipeline:
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    words = {character: index for index, character in enumerate(CHARACTERS)}
    parts = {
        "unet": diffusers.UNet2DConditionModel(**UNET),
        "vae": diffusers.AutoencoderKL(**VAE),
        "vocoder": transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**VOCODER)),
        "text_encoder": transformers.ClapTextModelWithProjection(transformers.ClapTextConfig(**TEXT)),
    }
    spreads = {"vae": 0.3, "text_encoder": 1.0, "vocoder": 0.15}
    for part, model in parts.items():
        for name, parameter in model.eval().named_parameters():
            if "norm" in name.lower():
                torch.nn.init.normal_(parameter, mean=1.0, std=0.3)
            elif part in spreads and "weight" in name:
                torch.nn.init.normal_(parameter, std=spreads[part])
    torch.nn.init.normal_(parts["unet"].class_embedding.weight)
    pipeline = diffusers.AudioLDMPipeline(
        tokenizer=transformers.RobertaTokenizer(vocab=words, merges=[], model_max_length=32),
        scheduler=diffusers.DDIMScheduler(**SCHEDULER),
        **parts,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def saved(pipeline: diffusers.AudioLDMPipeline, folder: Path, **options) -> str:
    pipeline.save_pretrained(folder, **options)
    return str(folder)
