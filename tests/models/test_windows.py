import numpy as np
import pytest
import torch
from torch import Tensor

from t2a.models.codec import Codec, CodecConfig
from t2a.models.streaming import context_frames
from t2a.models.windows import windows
from t2a.nn.quantize import QuantizerConfig


def codec(**changes) -> Codec:
    torch.manual_seed(0)
    small = {"filters": 4, "ratios": (5, 4, 2), "dimension": 8, "lstm_layers": 0, "sample_rate": 2000}
    return Codec(CodecConfig(**small | {"quantizer": QuantizerConfig(codebooks=3, bins=30)} | changes)).eval()


def in_windows(model: Codec, wave: Tensor, frames: int, context: int) -> tuple[Tensor, Tensor]:
    """Latents, and the wave decoded from the whole's latents, each computed window by window."""
    latents, decoded = [], []
    with torch.no_grad():
        whole = model.encoder(wave)
        for part, lead, keep in windows([wave[0].numpy()], frames * model.hop, context * model.hop):
            first = lead // model.hop
            latents.append(model.encoder(torch.from_numpy(part)[None])[..., first : first - (-keep // model.hop)])
        for part, lead, keep in windows([whole[0].numpy()], frames, context):
            decoded.append(
                model.decoder(torch.from_numpy(part)[None])[..., lead * model.hop :][..., : keep * model.hop]
            )
    return torch.cat(latents, -1), torch.cat(decoded, -1)


def whole(model: Codec, wave: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        latents = model.encoder(wave)
        return latents, model.decoder(latents)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("changes", [{}, {"residual_units": 2, "kernel": 9}, {"pad_mode": "reflect"}])
def test_the_context_is_all_that_convolutions_see_and_no_more(causal, changes):
    """In float64: what a frame sees at its farthest weighs little."""
    model = codec(causal=causal, **changes).double()
    wave = torch.randn(1, 1, 200 * model.hop + 3, dtype=torch.float64)
    context = context_frames(model)
    for windowed, expected in zip(in_windows(model, wave, 30, context), whole(model, wave), strict=True):
        assert (windowed - expected).abs().max() < 1e-12 * expected.abs().max()
    narrower = zip(in_windows(model, wave, 30, context - 1), whole(model, wave), strict=True)
    assert any((windowed - expected).abs().max() > 1e-11 * expected.abs().max() for windowed, expected in narrower)


def test_the_longer_an_lstm_settles_the_less_of_its_memory_is_missed():
    model = codec(lstm_layers=2)
    wave = torch.randn(1, 1, 400 * model.hop)
    errors = []
    for seconds in (0.0, 0.2, 0.5):
        context = context_frames(model, seconds)
        results = zip(in_windows(model, wave, 50, context), whole(model, wave), strict=True)
        errors.append([((w - e).norm() / e.norm()).item() for w, e in results])
    for side in (0, 1):
        assert errors[0][side] > errors[1][side] > errors[2][side]
        assert errors[2][side] < 1e-3


def test_windows_are_the_same_however_the_wave_is_cut():
    wave = np.arange(103, dtype=np.float32)[None]

    def cut(step: int) -> list:
        pieces = (wave[:, i : i + step] for i in range(0, 103, step))
        return [(w.tolist(), lead, keep) for w, lead, keep in windows(pieces, 20, 6)]

    expected = [(wave[:, max(0, s - 6) : s + 26].tolist(), min(s, 6), min(20, 103 - s)) for s in range(0, 103, 20)]
    for step in (1, 7, 20, 50, 103):
        assert cut(step) == expected


def test_memory_is_bounded():
    longest = 0

    def pieces():
        for _ in range(200):
            yield np.zeros((1, 1000), np.float32)

    for window, _, _ in windows(pieces(), 5000, 500):
        longest = max(longest, window.base.nbytes if window.base is not None else window.nbytes)
    assert longest <= 4 * (5000 + 2 * 500 + 1000)
