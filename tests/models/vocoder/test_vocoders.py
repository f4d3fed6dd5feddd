"""What all vocoders have in common: exact lengths, batches that change nothing, folders."""

import json

import pytest
import torch

from t2a.audio.spectral import MelSpec, MelSpectrogram
from t2a.errors import CheckpointError
from t2a.models.vocoder import GriffinLim, HifiGanConfig, VocosConfig, load_vocoder

SPEC = MelSpec(rate=8000, n_fft=128, hop=32, n_mels=16, log="ln")
EDGES = SPEC.model_copy(update={"center": False})
MAKERS = {
    "vocos, center": lambda: VocosConfig(mel=SPEC, width=16, hidden=32, layers=2).build(),
    "vocos, same": lambda: VocosConfig(mel=EDGES, width=16, hidden=32, layers=2).build(),
    "hifigan": lambda: HifiGanConfig(mel=SPEC, width=16, rates=(8, 4), kernels=(16, 8)).build(),
    "hifigan, odd surplus": lambda: HifiGanConfig(mel=SPEC, width=16, rates=(8, 4), kernels=(15, 7)).build(),
    "hifigan, unpaired": lambda: HifiGanConfig(
        mel=SPEC,
        width=16,
        rates=(8, 4),
        kernels=(16, 8),
        residual_kernels=(3, 5),
        dilations=((1, 2), (2, 6)),
        paired=False,
    ).build(),
    "griffin-lim, center": lambda: GriffinLim(SPEC, rounds=4),
    "griffin-lim, same": lambda: GriffinLim(EDGES, rounds=4),
}


@pytest.fixture(params=MAKERS)
def vocoder(request):
    torch.manual_seed(0)
    return MAKERS[request.param]().eval()


def mels(frames: int = 24, rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, SPEC.n_mels, frames, generator=torch.Generator().manual_seed(1)) - 3


@torch.no_grad()
def test_every_frame_makes_a_hop(vocoder):
    for frames in (1, 2, 24):
        wave = vocoder(mels(frames))
        assert wave.shape == (3, 1, frames * SPEC.hop)
        assert wave.isfinite().all()
        assert wave.dtype == torch.float32
    assert (vocoder.sample_rate, vocoder.mel_spec.n_mels) == (8000, 16)


@torch.no_grad()
def test_what_fills_a_batch_up_changes_nothing(vocoder):
    mel, length = mels(), torch.tensor([24, 9, 1])
    together = vocoder(mel, length)
    for row, frames in enumerate(length.tolist()):
        alone = vocoder(mel[row : row + 1, :, :frames])
        samples = frames * SPEC.hop
        torch.testing.assert_close(together[row : row + 1, :, :samples], alone, atol=1e-5, rtol=1e-4)
        assert not together[row, :, samples:].any()
    torch.testing.assert_close(vocoder(mel, torch.full((3,), 24)), vocoder(mel), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in MAKERS if "griffin" not in name])
@torch.no_grad()
def test_a_folder_is_loaded_by_what_it_holds(name, tmp_path):
    torch.manual_seed(0)
    made = MAKERS[name]().eval()
    expected = made(mels())
    made.fold().save_pretrained(tmp_path / "vocoder")
    found = load_vocoder(tmp_path / "vocoder")
    assert type(found) is type(made)
    assert found.config == made.config
    torch.testing.assert_close(found(mels()), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made(mels()), expected, atol=1e-5, rtol=1e-4)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "codec"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds a codec, not a vocoder: give one of vocos, hifigan"):
        load_vocoder(tmp_path)


@pytest.mark.parametrize("name", ["vocos, center", "hifigan"])
@torch.no_grad()
def test_bfloat16_weights_take_the_same_spectrograms(name):
    torch.manual_seed(0)
    model = MAKERS[name]().eval()
    exact = model(mels())
    rounded = model.bfloat16()(mels())
    assert rounded.dtype == torch.float32
    assert (rounded - exact).square().mean() < 1e-3 * exact.square().mean()


@pytest.mark.parametrize("name", ["vocos, center", "hifigan"])
def test_a_fresh_model_neither_mutes_nor_clips(name):
    torch.manual_seed(0)
    wave = 0.1 * torch.randn(2, 4000)
    level = MAKERS[name]()(MelSpectrogram(SPEC)(wave)).std()
    assert 1e-3 < level < 0.5


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 15, 4), r"\[B, 16, L\], not \[1, 15, 4\]"), ((16, 4), "not"), ((1, 16, 0), "at least one frame")],
)
def test_spectrograms_of_another_shape_are_refused(vocoder, shape, message):
    with pytest.raises(ValueError, match=message):
        vocoder(torch.zeros(shape))
