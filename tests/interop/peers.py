"""Models of the encodec package, built small and without a download."""

import torch
from encodec import model as encodec
from encodec import modules
from encodec.compress import compress
from encodec.quantization import ResidualVectorQuantizer

from tests.interop.parity import fill, sound


@torch.no_grad()
def build(name: str, filters: int = 4, dimension: int = 16, codebooks: int = 4) -> encodec.EncodecModel:
    """Return the 24 or 48 kHz model of the encodec package, `pretrained=False`, with fewer filters."""
    torch.manual_seed(0)
    stereo = name == "encodec_48khz"
    rate, channels = (48000, 2) if stereo else (24000, 1)
    shape = {
        "channels": channels,
        "dimension": dimension,
        "n_filters": filters,
        "norm": "time_group_norm" if stereo else "weight_norm",
        "causal": not stereo,
    }
    model = encodec.EncodecModel(
        modules.SEANetEncoder(**shape),
        modules.SEANetDecoder(**shape),
        ResidualVectorQuantizer(dimension=dimension, n_q=codebooks, bins=1024),
        [codebooks * rate / 320 / 100],
        rate,
        channels,
        normalize=stereo,
        segment=1.0 if stereo else None,
        name=name,
    )
    return filled(model)


@torch.no_grad()
def filled(model: encodec.EncodecModel) -> encodec.EncodecModel:
    """Fill a model's codebooks, as training would have."""
    books = [layer._codebook for layer in model.quantizer.vq.layers]
    fill(books, model.encoder(sound(0.5, model.sample_rate, model.channels)))
    for book in books:
        book.inited.fill_(1)
    return model.eval()


@torch.no_grad()
def compressed(model: encodec.EncodecModel, length: int, codebooks: int = 3) -> bytes:
    """Return the `.ecdc` file that the encodec package writes of `length` samples."""
    model.bandwidth = codebooks * model.frame_rate * 10 / 1000
    wave = sound(length / model.sample_rate, model.sample_rate, model.channels)[0, :, :length]
    return compress(model, wave, use_lm=False)
