"""Encoders of transformers with random weights, in the layout of a checkpoint of the hub."""

from pathlib import Path

import torch

from t2a.audio import torchaudio_backend  # noqa: F401

import tokenizers  # isort: skip
import transformers  # isort: skip

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "a", "dog", "barks", "bell", "rain", "falls"]


def tokenizer(folder: Path) -> None:
    """Write a tokenizer of whole words."""
    words = {word: index for index, word in enumerate(WORDS)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(folder)


def t5(folder: Path, width: int = 12) -> Path:
    """Write a T5."""
    tokenizer(folder)
    config = transformers.T5Config(vocab_size=len(WORDS), d_model=width, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def clap(folder: Path, seed: int = 0) -> Path:
    """Write a ClapModel of projection width 8 that hears one second at 8 kHz, with its processor's files."""
    tokenizer(folder)
    transformers.ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, hop_length=64, max_length_s=1, fft_window_size=256,
        frequency_max=4000, truncation="rand_trunc", padding="repeatpad",
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(seed)
    text = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "pad_token_id": 1, "max_position_embeddings": 40}  # fmt: skip
    audio = {"spec_size": 64, "num_mel_bins": 16, "patch_embeds_hidden_size": 8, "hidden_size": 16, "window_size": 4,
             "depths": [1, 1], "num_attention_heads": [2, 2]}  # fmt: skip
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=8)
    transformers.ClapModel(config).save_pretrained(folder)
    return folder
