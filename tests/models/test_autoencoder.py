import math

import pytest
import torch
from pydantic import ValidationError

from t2a.audio.spectral import MelSpec
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig, LatentScale

MEL = {"rate": 8000, "n_fft": 256, "hop": 64, "n_mels": 16, "log": "ln"}
NETWORKS = {
    "1d": {"kind": "1d", "latent": 3, "widths": [8, 12, 16], "blocks": 1},
    "2d": {"kind": "2d", "latent": 2, "width": 8, "multipliers": [1, 1, 2], "blocks": 1, "groups": 4, "attention": [2]},
}
KINDS = pytest.mark.parametrize("kind", sorted(NETWORKS))


def make(kind: str, **changes) -> Autoencoder:
    """A small autoencoder whose every layer does something."""
    torch.manual_seed(0)
    config = {"mel": MEL, "network": NETWORKS[kind]} | changes
    model = Autoencoder(AutoencoderConfig.model_validate(config)).eval()
    for parameter in model.parameters():
        if not parameter.abs().sum():
            torch.nn.init.normal_(parameter, std=0.1)
    model.latents.mean.normal_()
    model.latents.std.uniform_(0.5, 2)
    return model


def mels(rows: int, frames: int, seed: int = 1) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return -6 + 2 * torch.randn(rows, 16, frames, generator=draw)


def test_latents_have_the_shape_that_is_told():
    for kind, shape in (("1d", (3,)), ("2d", (2, 4))):
        model = make(kind)
        z = model.encode(mels(2, 22))
        assert model.latent_shape == shape
        assert model.factor == 4
        assert model.frame_rate == 8000 / 64 / 4
        assert z.shape == (2, *shape, model.latent_length(22)) == (2, *shape, 6)
        assert model.decode(z).shape == (2, 16, 24)


def test_the_paper_s_network_has_its_size_and_latents():
    with torch.device("meta"):
        model = Autoencoder(AutoencoderConfig.model_validate({"network": {"kind": "2d"}}))
    assert (model.latent_shape, model.latent_length(624)) == ((4, 10), 78)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(69e6, rel=0.01)


@KINDS
def test_what_fills_a_clip_up_changes_nothing_of_its_real_part(kind):
    model, lengths = make(kind), [21, 8, 40, 3]
    clips = [mels(1, n, seed=n) for n in lengths]
    batch = mels(4, 40, seed=9) * 100  # nonsense beyond the clips
    for row, clip in enumerate(clips):
        batch[row, :, : clip.shape[-1]] = clip[0]
    length = torch.tensor(lengths)
    latent = -(-length // model.factor)
    with torch.no_grad():
        z = model.encode(batch, length)
        decoded = model.decode(z.masked_fill(torch.arange(10) >= latent.view(4, *[1] * (z.ndim - 1)), 50.0), latent)
        through = model(batch, length)
        for row, clip in enumerate(clips):
            frames, frames_there = latent[row], 4 * latent[row]
            alone = model.encode(clip)
            torch.testing.assert_close(z[row, ..., :frames], alone[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(decoded[row, :, :frames_there], model.decode(alone)[0], rtol=1e-4, atol=1e-4)
            assert (decoded[row, :, frames_there:] == math.log(1e-5)).all()
            expected = model(clip).mel[0]
            torch.testing.assert_close(through.mel[row, :, : lengths[row]], expected, rtol=1e-4, atol=1e-4)
            assert (through.mel[row, :, lengths[row] :] == math.log(1e-5)).all()


@pytest.mark.parametrize("center", [True, False])
def test_a_wave_s_real_frames_are_those_of_the_clip_by_itself_and_then_there_is_silence(center):
    model = make("1d", mel=MEL | {"center": center})
    lengths = [2000, 1999, 700, 129, 100, 1, 0]
    wave = torch.randn(len(lengths), 1, 2000, generator=torch.Generator().manual_seed(0))
    mel = model.mel(wave, torch.tensor(lengths))
    assert mel.shape[-1] == model.mel(wave).shape[-1]
    for row, (n, frames) in enumerate(zip(lengths, model.config.mel.frames(torch.tensor(lengths)), strict=True)):
        if n:
            alone = model.mel(wave[row : row + 1, :, :n])[0]
            assert alone.shape[-1] == frames
            torch.testing.assert_close(mel[row, :, :frames], alone, rtol=1e-4, atol=1e-4)
        assert (mel[row, :, frames:] == math.log(1e-5)).all()


@pytest.mark.parametrize("log", ["ln", "log10"])
def test_silent_and_missing_clips_are_silence_never_a_loud_block(log):
    model = make("1d", mel=MEL | {"log": log})
    floor = {"ln": math.log(1e-5), "log10": -5.0}[log]
    for length in (None, torch.tensor([4000, 0])):
        mel = model.mel(torch.zeros(2, 1, 4000), length)
        assert torch.equal(mel, torch.full_like(mel, floor))


@KINDS
def test_latents_are_standardised_and_decoded_from_there(kind):
    model, mel = make(kind), mels(2, 24)
    mean, logvar = model.posterior(mel)
    axes = [-1] + [1] * (mean.ndim - 2)
    expected = (mean - model.latent_mean.view(axes)) / model.latent_std.view(axes)
    torch.testing.assert_close(model.encode(mel), expected)
    torch.testing.assert_close(model.decode(model.encode(mel)), model(mel).mel, rtol=1e-4, atol=1e-4)
    assert logvar.shape == mean.shape


def test_it_draws_from_the_posterior_only_while_training():
    model, mel = make("1d"), mels(2, 24)
    assert torch.equal(model(mel).mel, model(mel).mel)
    model.train()
    assert not torch.equal(model(mel).mel, model(mel).mel)


def test_the_scale_of_latents_is_that_of_many_batches_and_of_real_frames():
    scale, draw = LatentScale(2, decay=1.0), torch.Generator().manual_seed(0)
    batches = [torch.randn(3, 2, 4, 10, generator=draw) * 3 + torch.tensor([5.0, -1.0]).view(2, 1, 1) for _ in range(7)]
    mask = torch.arange(10) < torch.tensor([10, 4, 7])[:, None]
    for batch in batches:
        scale.update(batch, mask)
    seen = torch.cat([b.permute(1, 0, 3, 2)[:, mask].flatten(1) for b in batches], 1)
    torch.testing.assert_close(scale.mean, seen.mean(1))
    torch.testing.assert_close(scale.std, seen.std(1, unbiased=False))
    assert scale.count.item() == seen.shape[1]
    assert scale.bfloat16().mean.dtype == torch.float32


def test_the_scale_of_latents_follows_a_network_that_learns():
    scale = LatentScale(1, decay=0.5)
    for level in [0.0] * 5 + [8.0] * 20:
        scale.update(level + torch.randn(4, 1, 100, generator=torch.Generator().manual_seed(0)), None)
    assert scale.mean.item() == pytest.approx(8, abs=0.2)
    assert scale.std.item() == pytest.approx(1, abs=0.2)


@KINDS
def test_in_bfloat16_it_takes_the_same_spectrograms_and_makes_nearly_the_same_of_them(kind):
    model, wave = make(kind), torch.randn(1, 1, 2000, generator=torch.Generator().manual_seed(0))
    mel = model.mel(wave)
    z, decoded = model.encode(mel), model.decode(model.encode(mel))
    model.bfloat16()
    assert torch.equal(model.mel(wave), mel)
    assert model.decode(z).dtype == torch.float32
    torch.testing.assert_close(model.encode(mel), z, rtol=0.05, atol=0.05)
    torch.testing.assert_close(model.decode(z), decoded, rtol=0.05, atol=0.2)


@KINDS
def test_it_is_saved_with_its_spectrogram_and_the_scale_of_its_latents(kind, tmp_path):
    model, mel = make(kind), mels(1, 20)
    model.save_pretrained(tmp_path / "model")
    again = Autoencoder.from_pretrained(tmp_path / "model")
    assert again.config.mel == MelSpec(**MEL)
    assert torch.equal(again.encode(mel), model.encode(mel))


@KINDS
def test_numbers_that_are_none_are_refused(kind):
    model, mel = make(kind), mels(1, 8)
    z = model.encode(mel)
    z[..., -1] = math.nan
    with pytest.raises(ValueError, match="finite latents"):
        model.decode(z)
    mel[..., -1] = math.inf
    with pytest.raises(ValueError, match="finite spectrograms"):
        model.encode(mel)


@pytest.mark.parametrize("shape", [(1, 2, 400), (1, 1, 0), (1, 400)])
def test_waves_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"takes waves \[B, 1, T\]"):
        make("1d").mel(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mel": MEL | {"log": "none"}}, "set it to ln or log10"),
        ({"network": NETWORKS["2d"], "mel": MEL | {"n_mels": 18}}, "18 is no multiple of 4"),
        ({"network": NETWORKS["2d"] | {"groups": 32}}, "multiple of groups 32"),
        ({"network": NETWORKS["2d"] | {"attention": [3]}}, r"stages \[3\], there are 0 to 2"),
    ],
)
def test_settings_that_make_no_latents_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        make("1d", **changes)
