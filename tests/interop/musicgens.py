"""MusicGens of transformers: small, with random weights that have opinions, saved as checkpoints of the hub are."""

from pathlib import Path

import torch

from tests.conditions import peers

import transformers  # isort: skip

BINS, CHROMA_LENGTH = 16, 5
CODEC = {
    "sampling_rate": 8000, "upsampling_ratios": [5, 4], "codebook_size": BINS, "target_bandwidths": [6.4],
    "num_filters": 4, "hidden_size": 12, "use_causal_conv": False, "use_conv_shortcut": False, "num_lstm_layers": 1,
}  # fmt: skip
TEXT = {"vocab_size": len(peers.WORDS), "d_model": 12, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": 2}
DECODER = {
    "vocab_size": BINS, "pad_token_id": BINS, "bos_token_id": BINS, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "ffn_dim": 80, "num_codebooks": 4, "max_position_embeddings": 64,
}  # fmt: skip


def build(kind: str, **changes) -> transformers.PreTrainedModel:
    """kind: mono, stereo or melody; changes: of the decoder."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    decoder = DECODER | ({"num_codebooks": 8, "audio_channels": 2} if kind == "stereo" else {}) | changes
    parts = {"text_encoder": {"model_type": "t5"} | TEXT, "audio_encoder": {"model_type": "encodec"} | CODEC}
    if kind == "melody":
        config = transformers.MusicgenMelodyConfig(**parts, decoder=decoder, chroma_length=CHROMA_LENGTH)
        model = transformers.MusicgenMelodyForConditionalGeneration(config)
    else:
        model = transformers.MusicgenForConditionalGeneration(transformers.MusicgenConfig(**parts, decoder=decoder))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("audio_encoder"):
                wide = parameter.ndim == 2 and "embed" not in name
                parameter.normal_(std=1.5 * parameter.shape[-1] ** -0.5 if wide else 0.5)
                if name.endswith("norm.weight"):
                    parameter.add_(1)
        for book in model.audio_encoder.quantizer.layers:
            book.codebook.embed.normal_()
    tokens = {"pad_token_id": BINS, "bos_token_id": BINS, "decoder_start_token_id": BINS}
    model.generation_config = transformers.GenerationConfig(**tokens, do_sample=False, guidance_scale=1.0)
    return model.eval()


def saved(model: transformers.PreTrainedModel, folder: Path, **options) -> str:
    """Write a model and its tokenizer."""
    model.save_pretrained(folder, **options)
    peers.tokenizer(folder)
    return str(folder)


def greedy(model: transformers.PreTrainedModel, frames: int, monkeypatch, **inputs) -> torch.Tensor:
    """The codes [B, K, L] that transformers' own `generate` chooses; the codec only looks on."""
    seen = []

    def decode(codes, *_, **__):
        seen.append(codes[0])
        return transformers.models.encodec.modeling_encodec.EncodecDecoderOutput(torch.zeros(1, 1, 1))

    books = model.decoder.num_codebooks // model.config.decoder.audio_channels
    with monkeypatch.context() as patch:
        patch.setattr(model.audio_encoder, "decode", decode)
        model.generate(**inputs, max_new_tokens=frames + books - 1)
    return seen[0] if len(seen) == 1 else torch.stack(seen, dim=2).flatten(1, 2)
