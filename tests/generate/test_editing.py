import numpy as np
import pytest
import torch

from t2a.errors import ConfigError, DataError
from t2a.generate.editing import Known, begun, edit
from t2a.generate.settings import DiffusionSettings
from t2a.models.denoiser import Denoiser
from tests.generate.tiny import FRAME, RATE, build_diffusion

SECONDS = 16 * FRAME / RATE


def noise(samples: int, seed: int = 0) -> tuple[np.ndarray, int]:
    return 0.3 * np.random.default_rng(seed).standard_normal((1, samples)).astype(np.float32).clip(-3, 3), RATE


@pytest.mark.parametrize("extra_channels", [0, 4])
def test_all_but_a_span_stays_sample_by_sample(extra_channels):
    generator, (wave, rate) = build_diffusion(extra_channels=extra_channels), noise(16 * FRAME)
    span = (4 * FRAME / RATE, 10.3 * FRAME / RATE)
    first, second = edit(generator, (wave, rate), ["rain", "a dog"], seeds=[1, 2], span=span, steps=3)
    start, end = (round(second * RATE) for second in span)
    for made in (first, second):
        assert made.shape == wave.shape
        np.testing.assert_array_equal(made[:, :start], wave[:, :start])
        np.testing.assert_array_equal(made[:, end:], wave[:, end:])
        assert np.abs(made[:, start:end] - wave[:, start:end]).max() > 0.05
    assert np.abs(first - second).max() > 1e-4
    (alone,) = edit(generator, (wave, rate), ["a dog"], seeds=[2], span=span, steps=3)
    np.testing.assert_allclose(alone, second, atol=1e-5)


@pytest.mark.parametrize("loud", [0.3, 5.0])
def test_what_stays_is_not_turned_down_by_what_is_new(monkeypatch, loud):
    generator, (wave, rate) = build_diffusion(), noise(16 * FRAME)
    monkeypatch.setattr(generator, "waves", lambda z: torch.full((1, 1, z.shape[-1] * FRAME), loud))
    (made,) = edit(generator, (wave, rate), ["rain"], seeds=[1], span=(0.01, 0.03), steps=1)
    np.testing.assert_array_equal(made[:, : round(0.01 * RATE)], wave[:, : round(0.01 * RATE)])
    assert made[0, round(0.02 * RATE)] == pytest.approx(min(loud, 1.0))


def test_the_sound_has_its_effect_and_less_strength_keeps_more_of_it():
    generator = build_diffusion()
    sounds = [noise(16 * FRAME, seed) for seed in (1, 2)]
    given = [Known(torch.from_numpy(w), 0, w.shape[1]).given(generator.autoencoder, 16) for w, _ in sounds]

    def latents(which: int, strength: float) -> torch.Tensor:
        options = {"given": given[which], "strength": strength}
        return generator.latents(["rain"], 16, [3], 3.0, DiffusionSettings(steps=8), **options)

    assert not given[0].keep.any()
    far = [float((latents(0, s) - given[0].latent.detach()).norm()) for s in (0.125, 0.5, 1.0)]
    assert far == sorted(far)
    assert (latents(0, 0.25) - latents(1, 0.25)).abs().max() > 1e-3
    told = []
    edit(generator, sounds[0], ["rain"], seeds=[3], strength=0.5, steps=8, progress=lambda *count: told.append(count))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    versions = [edit(generator, sound, ["rain"], seeds=[3], strength=0.25, steps=8)[0] for sound in sounds]
    assert [version.shape for version in versions] == [(1, 16 * FRAME)] * 2


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddpm", "plms"])
def test_a_clip_begins_with_the_sound_that_it_continues(sampler):
    generator, (wave, rate) = build_diffusion(), noise(6 * FRAME + 100)
    told = {"seconds": SECONDS, "beginning": (wave, rate), "sampler": sampler, "steps": 4}
    first, second = generator.generate(["rain", "rain"], seeds=[1, 2], **told)
    kept = wave.shape[1] - round(0.01 * RATE)
    for clip in (first, second):
        assert clip.shape == (1, 16 * FRAME)
        np.testing.assert_array_equal(clip[:, :kept], wave[:, :kept])
    assert np.abs(first[:, wave.shape[1] :] - second[:, wave.shape[1] :]).max() > 1e-4
    doubled = generator.generate(["rain"], seeds=[1], **told | {"beginning": (np.repeat(wave, 2, 0), rate)})[0]
    np.testing.assert_allclose(doubled, first, atol=1e-5)


def test_a_model_that_was_trained_to_fill_gaps_sees_what_is_kept(monkeypatch):
    generator, seen = build_diffusion(extra_channels=4), []
    predict = Denoiser.predict
    monkeypatch.setattr(generator.model, "predict", lambda *a: seen.append(a[-1]) or predict(generator.model, *a))
    wave, rate = noise(16 * FRAME)
    edit(generator, (wave, rate), ["rain"], seeds=[1], span=(4 * FRAME / RATE, SECONDS), steps=1)
    (extra,) = seen
    z = generator.autoencoder.encode(generator.autoencoder.mel(torch.from_numpy(wave)[None]))
    assert extra.shape == (2, 4, 17)  # with the text and without it
    torch.testing.assert_close(extra[:, :3, :4], z[..., :4].expand(2, -1, -1))
    assert not extra[:, :3, 4:].any()
    assert extra[0, 3].tolist() == [1.0] * 4 + [0.0] * 13


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"span": (0.02, 0.01)}, ConfigError, r"span \(0.02, 0.01\) does not lie within"),
        ({"span": (-0.1, 0.01)}, ConfigError, "does not lie within"),
        ({"span": (0.01, 9)}, ConfigError, "does not lie within the 0.064 s of the sound"),
        ({"span": (0.01, np.inf)}, ConfigError, "does not lie within"),
        ({"span": (np.nan, 0.01)}, ConfigError, "does not lie within"),
        ({"sound": (np.full((1, 1), 0.1, np.float32), 3 * RATE)}, ConfigError, "less than one sample at 16000 Hz"),
        ({"strength": 0}, ConfigError, "strength is 0"),
        ({"top_k": 3}, ConfigError, "has no setting top_k"),
        ({"sound": noise(30 * FRAME)}, ConfigError, "longer than the 0.08 s"),
        ({"sound": (np.zeros(5, np.float32), RATE)}, ConfigError, "must be a wave"),
        ({"sound": (np.full((1, 99), np.nan, np.float32), RATE)}, DataError, "The sound to edit holds NaN"),
    ],
)
def test_what_cannot_be_met_is_refused(changes, error, told):
    arguments = {"sound": noise(16 * FRAME), "seeds": [1]} | changes
    with pytest.raises(error, match=told):
        edit(build_diffusion(), arguments.pop("sound"), ["rain"], **arguments)


@pytest.mark.parametrize(
    ("samples", "told"), [(1000, "must be shorter than the 0.05 s of the clip"), (200, r"less than 0.014 s: give more")]
)
def test_a_beginning_has_a_least_and_a_greatest_length(samples, told):
    with pytest.raises(ConfigError, match=told):
        begun(noise(samples), RATE, 800, FRAME)
