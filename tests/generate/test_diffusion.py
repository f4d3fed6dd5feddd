import math
import warnings

import numpy as np
import pytest
import torch

from t2a.conditions.encoders import EncodersFile
from t2a.conditions.text import MiniLMConfig
from t2a.diffusion.process import DiffusionConfig, FlowConfig
from t2a.diffusion.samplers import SAMPLERS
from t2a.errors import CheckpointError, ConfigError
from t2a.generate.diffusion import DiffusionGenerator, vocoder_of
from t2a.generate.loading import load
from t2a.generate.settings import DiffusionSettings
from t2a.models.denoiser import ConditionConfig, Denoiser
from t2a.models.unet import UNetConfig
from t2a.models.vocoder import GriffinLim, Vocos
from tests.generate.tiny import DIT, FRAME, MEL, RATE, Letters, build_diffusion

PROCESSES = {"diffusion": DiffusionConfig(), "flow": FlowConfig()}
SECONDS = 10 * FRAME / RATE
UNET = UNetConfig(width=8, multipliers=(1, 2), blocks=1, heads=2, context=6, groups=4)
every_pair = pytest.mark.parametrize(
    ("sampler", "kind"), [(name, kind) for name, sampler in SAMPLERS.items() for kind in sampler.processes]
)


def latents(generator: DiffusionGenerator, prompts, seeds, guidance=3.0, **how) -> torch.Tensor:
    return generator.latents(prompts, 10, seeds, guidance, DiffusionSettings(**{"steps": 3} | how))


@every_pair
@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_a_prompt_gives_the_same_clip_alone_and_in_any_batch(sampler, kind, guidance):
    generator = build_diffusion(PROCESSES[kind])
    prompts, seeds = ["rain", "a long train passes by", ""], [5, 6, 7]
    together = latents(generator, prompts, seeds, guidance, sampler=sampler)
    for row in range(3):
        alone = latents(generator, prompts[row : row + 1], seeds[row : row + 1], guidance, sampler=sampler)
        torch.testing.assert_close(alone[0], together[row], atol=1e-4, rtol=1e-3)
    clips = generator.generate(prompts, SECONDS, seeds=seeds, guidance=guidance, sampler=sampler, steps=3)
    (alone,) = generator.generate(["rain"], SECONDS, seeds=[5], guidance=guidance, sampler=sampler, steps=3)
    np.testing.assert_allclose(alone, clips[0], atol=1e-5)


def test_seeds_reproduce_and_differ_and_the_text_matters():
    generator = build_diffusion()
    first, again, other = latents(generator, ["rain"] * 3, [1, 1, 2])
    torch.testing.assert_close(again, first, atol=1e-5, rtol=1e-4)
    assert (other - first).abs().max() > 0.1
    assert (latents(generator, ["a dog"], [1])[0] - first).abs().max() > 0.01


def test_the_global_generator_is_neither_used_nor_moved():
    generator, state = build_diffusion(), torch.get_rng_state()
    (first,) = generator.generate(["rain"], SECONDS, seeds=[1], sampler="dpmpp_2m_sde", steps=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    (again,) = generator.generate(["rain"], SECONDS, seeds=[1], sampler="dpmpp_2m_sde", steps=3)
    np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize(("latent", "network"), [((3,), DIT), ((2, 2), UNET)])
@pytest.mark.parametrize("vocoder", ["vocos", "griffin-lim"])
@pytest.mark.parametrize("seconds", [1 / RATE, 0.00511, 0.02, 20 * FRAME / RATE])
def test_clips_are_exactly_as_long_as_asked_and_within_range(latent, network, vocoder, seconds):
    generator = build_diffusion(latent=latent, vocoder=vocoder, network=network)
    for clip in generator.generate(["rain", "wind"], seconds, seeds=[0, 1], steps=2):
        assert clip.shape == (1, round(seconds * RATE))
        assert clip.dtype == np.float32
        assert np.abs(clip).max() <= 1


def test_a_clip_has_the_frames_that_the_autoencoder_makes_of_one_as_long(monkeypatch):
    generator, seen = build_diffusion(), []
    sampled = generator.latents
    monkeypatch.setattr(generator, "latents", lambda prompts, frames, *a, **k: seen.append(frames) or
                        sampled(prompts, frames, *a, **k))  # fmt: skip
    for samples in (1, 500, 640, 700, 20 * FRAME):
        generator.generate(["rain"], samples / RATE, seeds=[0], steps=1)
        mel = generator.autoencoder.mel(torch.zeros(1, 1, samples))
        assert seen[-1] == min(generator.autoencoder.encode(mel).shape[-1], 20)


def test_sampling_follows_the_guided_network():
    """One step of DDIM from the most noise is the foreseen latent, here by hand."""
    generator = build_diffusion()
    found = generator.latents(["rain"], 10, [4], 3.0, DiffusionSettings(sampler="ddim", steps=1))
    x = torch.randn(3, 10, generator=torch.Generator().manual_seed(4))[None]
    t = torch.tensor([999.0])
    with torch.no_grad():
        told, null = (generator.model(x, t, None, c) for c in ({"text": Letters()(["rain"])}, None))
    alpha, sigma = (float(part) for part in generator.process.schedule.at(t))
    torch.testing.assert_close(found, alpha * x - sigma * (null + 3 * (told - null)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("guidance", "prompt", "rows"), [(3.0, "rain", 4), (1.0, "rain", 2), (0.0, "rain", 2), (3.0, "", 2)]
)
def test_only_guided_text_costs_a_second_pass(monkeypatch, guidance, prompt, rows):
    generator, seen = build_diffusion(), []
    predict = generator.model.predict
    monkeypatch.setattr(generator.model, "predict", lambda x, *rest: seen.append(len(x)) or predict(x, *rest))
    generator.generate([prompt] * 2, SECONDS, seeds=[0, 1], guidance=guidance, steps=2)
    assert seen == [rows] * 2


def test_a_rescaled_guidance_and_more_steps_change_the_clip():
    generator = build_diffusion()
    plain, *others = (latents(generator, ["rain"], [1], **how) for how in ({}, {"rescale": 0.7}, {"steps": 6}))
    assert all((plain - other).abs().max() > 0.01 for other in others)


def test_progress_counts_every_step():
    told = []
    build_diffusion().generate(["rain"], SECONDS, seeds=[0], steps=4, progress=lambda *count: told.append(count))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan, math.inf, 1e9, 1e-9])
def test_impossible_durations_are_refused(seconds):
    with pytest.raises(ConfigError, match="ask for"):
        build_diffusion().generate(["rain"], seconds, seeds=[0])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"prompts": []}, "no prompt"),
        ({"seeds": [1, 2]}, "1 prompts but 2 seeds"),
        ({"guidance": math.nan}, "guidance is nan"),
        ({"seconds": 20.1 * FRAME / RATE}, "longer than the 0.08 s that this model was trained on"),
        ({"beginning": (np.zeros((1, 99), np.float32), RATE)}, "audio to continue is 0.0061875 s, less than 0.014 s"),
        ({"melody": (np.zeros((1, 99), np.float32), RATE)}, "trained without melodies"),
        ({"top_k": 5}, "A diffusion model has no setting top_k: it knows sampler, steps, rescale, eta, order"),
        ({"steps": 0}, "steps is 0; it should be greater than or equal to 1"),
        ({"steps": 1001}, "in 1 to 1000 steps, not 1001"),
        ({"sampler": "dim"}, "no sampler 'dim': did you mean ddim"),
        ({"sampler": "euler"}, "euler does not solve the model's process, diffusion: take one of ddpm, ddim"),
        ({"eta": 0.5}, "dpmpp_2m has no option 'eta'"),
        ({"rescale": 1.5}, "rescale is 1.5"),
    ],
)
def test_what_cannot_be_met_is_refused_before_any_work(monkeypatch, changes, told):
    generator = build_diffusion()
    monkeypatch.setattr(generator.model, "predict", lambda *_: pytest.fail("the model was asked"))
    arguments = {"prompts": ["rain"], "seconds": SECONDS, "seeds": [0]} | changes
    with pytest.raises(ConfigError, match=told):
        generator.generate(arguments.pop("prompts"), arguments.pop("seconds"), **arguments)


def test_a_stream_is_refused_when_asked_for():
    with pytest.raises(ConfigError, match="cannot give a clip in pieces"):
        build_diffusion().stream("rain", SECONDS, seed=0)


def test_loud_silent_and_broken_clips_are_dealt_with(monkeypatch):
    generator = build_diffusion()

    def voiced(value: float) -> np.ndarray:
        monkeypatch.setattr(generator.vocoder, "forward", lambda mel: torch.full((1, 1, mel.shape[-1] * 16), value))
        return generator.generate(["rain"], SECONDS, seeds=[0], steps=1)[0]

    assert np.abs(voiced(3.0)).max() == 1
    with pytest.warns(UserWarning, match="'rain' is silent"):
        voiced(0.0)
    with pytest.raises(CheckpointError, match="not finite"):
        voiced(math.nan)
    generator.model.network.outward.bias.data.fill_(math.nan)
    with pytest.raises(CheckpointError, match="predicts NaN"):
        generator.generate(["rain"], SECONDS, seeds=[0], steps=1)


@pytest.fixture
def folder(tmp_path):
    """A model folder as a task exports it."""
    generator = build_diffusion(conditions={"text": ConditionConfig(width=384)})
    generator.model.save_pretrained(tmp_path / "model")
    generator.autoencoder.save_pretrained(tmp_path / "model" / "autoencoder")
    generator.vocoder.save_pretrained(tmp_path / "model" / "vocoder")
    EncodersFile(encoders={"text": MiniLMConfig()}).write(tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_loads_and_bfloat16_is_near(folder):
    generator, halved = load(folder), load(folder, precision="bfloat16")
    assert isinstance(generator, DiffusionGenerator)
    assert isinstance(generator.vocoder, Vocos)
    assert (generator.sample_rate, generator.max_seconds) == (RATE, 20 * FRAME / RATE)
    exact, near = (latents(g, [""], [3], steps=4) for g in (generator, halved))
    assert near.dtype == torch.float32
    assert 0 < float((near - exact).norm() / exact.norm()) < 0.1


def test_without_a_vocoder_griffin_lim_speaks_and_it_is_said(folder):
    (folder / "vocoder").rename(folder / "elsewhere")
    with pytest.warns(UserWarning, match="has no vocoder: Griffin-Lim takes its place"):
        generator = load(folder)
    assert isinstance(generator.vocoder, GriffinLim)
    (clip,) = generator.generate([""], 0.01, seeds=[0], steps=1)
    assert clip.shape == (1, 160)


@pytest.mark.parametrize(
    ("missing", "told"), [("autoencoder", "has no autoencoder"), ("encoders.yaml", "has no encoders.yaml")]
)
def test_a_folder_without_its_parts_is_told(folder, missing, told):
    (folder / missing).rename(folder / "elsewhere")
    with pytest.raises(CheckpointError, match=told):
        load(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hop": 32}, "for different spectrograms: hop 16 and 32; put"),
        ({"log": "log10"}, "different spectrograms: log ln and log10; put"),
    ],
)
def test_a_vocoder_of_other_spectrograms_is_refused_naming_both(change, told):
    with pytest.raises(CheckpointError, match=told):
        build_diffusion(mel=MEL.model_copy(update=change))


def test_a_vocoder_of_the_same_spectrograms_in_other_words_is_taken():
    build_diffusion(mel=MEL.model_copy(update={"win": MEL.n_fft, "fmax": RATE / 2}))


def test_an_autoencoder_of_other_latents_is_refused_naming_both():
    whole = build_diffusion()
    other = Denoiser(whole.model.config.model_copy(update={"latent": (5,)}))
    with pytest.raises(CheckpointError, match=r"frames of \(5,\), the autoencoder beside it gives \(3,\)"):
        DiffusionGenerator(other, whole.autoencoder, whole.vocoder, whole.encoders)


def test_a_vocoder_beside_it_is_taken_without_a_word(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(vocoder_of(folder, build_diffusion().autoencoder), Vocos)
