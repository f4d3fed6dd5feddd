import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from t2a.audio.spectral import MelSpec, MelSpectrogram
from t2a.models.spectrogram_transformer import SpectrogramTransformer, SpectrogramTransformerConfig

MEL = MelSpec(n_fft=256, hop=64, n_mels=16, log="ln")


def tower(**changes) -> SpectrogramTransformer:
    torch.manual_seed(0)
    sizes = {"mel": MEL, "patch": (8, 4), "width": 16, "layers": 2, "heads": 2, "mean": -3.0, "std": 2.0}
    return SpectrogramTransformerConfig(**(sizes | changes)).build().eval()


def test_patches_are_those_that_torch_unfolds_of_the_normalised_spectrogram():
    model, wave = tower(), torch.randn(2, 1, 2000)
    patches, real = model.patches(wave, torch.tensor([2000, 900]))
    frames = (2000 - 128) // 64 + 1  # 30, whose windows end within the wave
    mel = (MelSpectrogram(MEL)(wave[:, 0])[..., :frames] + 3) / 4
    mel[1, :, (900 - 128) // 64 + 1 :] = 0
    expected = functional.unfold(functional.pad(mel[:, None], (0, 2)), (8, 4), stride=(8, 4)).mT
    torch.testing.assert_close(patches, expected)
    assert real.sum(2).tolist() == [[8, 8], [4, 4]]


def test_patches_know_their_band_and_their_time():
    model = tower()
    same, real = torch.ones(1, 6, 16), torch.ones(1, 2, 3, dtype=torch.bool)
    states = model.states(same, real)[0]
    apart = torch.cdist(states, states) + torch.eye(6)
    assert apart.min() > 1e-3


def test_what_is_not_real_is_never_looked_at():
    model, x = tower(), torch.randn(1, 6, 16)
    real = torch.tensor([[[True, True, False]] * 2])
    changed = torch.where(real.flatten(1)[..., None], x, 9.0)
    kept = real.flatten()
    torch.testing.assert_close(model.states(x, real)[0, kept], model.states(changed, real)[0, kept])


def test_a_long_sound_is_the_mean_of_its_parts_however_far_it_is_filled_up():
    model, wave = tower(seconds=2048 / 16000), torch.randn(1, 1, 9000)  # 31 frames and 8 columns at once
    assert model.columns == 8
    patches, real = model.patches(wave, torch.tensor([9000]))
    x = model.embed(patches).unflatten(1, (2, -1))
    parts = [model.states(x[:, :, b : b + 8].flatten(1, 2), real[:, :, b : b + 8]) for b in range(0, x.shape[2], 8)]
    expected = torch.cat(parts, 1).mean(1)
    torch.testing.assert_close(model(wave, torch.tensor([9000])), expected)
    filled = functional.pad(wave, (0, 20000))
    torch.testing.assert_close(model(filled, torch.tensor([9000])), expected)


def test_gradients_are_the_same_when_activations_are_computed_again():
    found = []
    for again in (False, True):
        model = tower(checkpoint_activations=again).train()
        model(torch.sin(torch.arange(2000.0))[None, None], torch.tensor([2000])).sum().backward()
        found.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValidationError, match="multiple of 16"):
        tower(patch=(16, 4), mel=MelSpec(n_mels=40, log="ln"))
    with pytest.raises(ValidationError, match="multiple of heads = 3"):
        tower(heads=3)


def test_the_base_recipe_cuts_ten_seconds_into_512_patches():
    mel = MelSpec(n_fft=1024, win=400, hop=160, n_mels=128, log="ln")
    model = SpectrogramTransformerConfig(mel=mel, patch=(16, 16), width=16, layers=1, heads=2).build()
    _, real = model.patches(torch.zeros(1, 1, 163840), torch.tensor([163840]))
    assert real.shape == (1, 8, 64)
    assert real.all()
