import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from t2a.diffusion.noise import Noise
from t2a.diffusion.process import DiffusionConfig, FlowConfig
from t2a.diffusion.samplers import SAMPLERS, sample
from t2a.diffusion.schedule import CLEAN, Level
from t2a.errors import ConfigError
from tests.diffusion.peers import Replay, a_predictor, trajectory

SETTINGS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
PEER_NAMES = {"eps": "epsilon", "v": "v_prediction"}
START = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(5))


def ours(name: str, config, steps: int, spacing="trailing", seed=3, **options) -> list[Tensor]:
    process = config.build()
    levels = process.schedule.levels(steps, spacing)
    noise = Replay(START, torch.Generator().manual_seed(seed))
    predict = a_predictor()
    run = SAMPLERS[name].run(process.denoised(predict), START, levels, noise, **options)
    return list(run)


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for step, (one, other) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5, msg=lambda text, step=step: f"step {step}: {text}")


def theirs(peer, steps: int, seed: int | None = None) -> list[Tensor]:
    peer.set_timesteps(steps)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return list(trajectory(peer, a_predictor(), START, generator))


@pytest.mark.parametrize("prediction", PEER_NAMES)
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim_equals_diffusers(prediction, spacing, eta):
    peer = DDIMScheduler(
        1000, **SETTINGS, clip_sample=False, prediction_type=PEER_NAMES[prediction], timestep_spacing=spacing
    )
    peer.set_timesteps(20)
    x, generator, expected = START, torch.Generator().manual_seed(3), []
    predict = a_predictor()
    for t in peer.timesteps:
        x = peer.step(predict(x, t.float().expand(2)), t, x, eta=eta, generator=generator).prev_sample
        expected.append(x)
    assert_same(ours("ddim", DiffusionConfig(prediction=prediction), 20, spacing, eta=eta), expected)


@pytest.mark.parametrize("prediction", PEER_NAMES)
@pytest.mark.parametrize("steps", [20, 100])
def test_ddpm_equals_diffusers(prediction, steps):
    peer = DDPMScheduler(1000, **SETTINGS, clip_sample=False, prediction_type=PEER_NAMES[prediction])
    found = ours("ddpm", DiffusionConfig(prediction=prediction), steps, "leading")
    assert_same(found, theirs(peer, steps, seed=3))


def test_plms_equals_diffusers():
    peer = PNDMScheduler(1000, **SETTINGS, skip_prk_steps=True, set_alpha_to_one=True)
    expected = theirs(peer, 20)
    assert_same(ours("plms", DiffusionConfig(prediction="eps"), 20, "leading"), expected[1:])  # [0] is half a step


def test_plms_mixes_the_noise_that_v_tells_of_and_not_v():
    """Diffusers mixes v of several levels, which is no prediction of any: its noise is asked for here."""
    peer = PNDMScheduler(1000, **SETTINGS, skip_prk_steps=True, set_alpha_to_one=True)
    peer.set_timesteps(20)
    schedule, predict = DiffusionConfig().build().schedule, a_predictor()

    def eps(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (part.view(-1, 1, 1) for part in schedule.at(t))
        return alpha * predict(x, t) + sigma * x

    found = ours("plms", DiffusionConfig(prediction="v"), 20, "leading")
    assert_same(found, list(trajectory(peer, eps, START))[1:])


@pytest.mark.parametrize("prediction", PEER_NAMES)
@pytest.mark.parametrize("steps", [1, 2, 10, 25])
@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_dpm_solver_equals_diffusers(name, prediction, steps):
    kind = {"dpmpp_2m": "dpmsolver++", "dpmpp_2m_sde": "sde-dpmsolver++"}[name]
    peer = DPMSolverMultistepScheduler(
        1000,
        **SETTINGS,
        algorithm_type=kind,
        final_sigmas_type="zero",
        prediction_type=PEER_NAMES[prediction],
        timestep_spacing="trailing",
    )
    assert_same(ours(name, DiffusionConfig(prediction=prediction), steps), theirs(peer, steps, seed=3))


@pytest.mark.parametrize("prediction", PEER_NAMES)
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 3, 25])
def test_unipc_equals_diffusers(prediction, order, steps):
    peer = UniPCMultistepScheduler(
        1000, **SETTINGS, solver_order=order, prediction_type=PEER_NAMES[prediction], timestep_spacing="trailing"
    )
    found = ours("unipc", DiffusionConfig(prediction=prediction), steps, order=order)
    assert_same(found, theirs(peer, steps))


def test_euler_of_flow_equals_diffusers():
    peer = FlowMatchEulerDiscreteScheduler(1000)
    peer.set_timesteps(sigmas=[1 - step / 20 for step in range(20)])
    predict = a_predictor()
    expected = list(trajectory(peer, lambda x, t: predict(x, t / 1000), START))
    assert_same(ours("euler", FlowConfig(), 20), expected)


def test_heun_of_flow_equals_diffusers():
    peer = FlowMatchHeunDiscreteScheduler(1000)
    peer.set_timesteps(10)
    times = torch.tensor([1 - step / 10 for step in range(10)])  # as ours, not down to 1/1000 before the clean end
    peer.timesteps = torch.cat([times[:1], times[1:].repeat_interleave(2)]) * 1000
    peer.sigmas = torch.cat([times[:1], times[1:].repeat_interleave(2), torch.zeros(1)])
    predict = a_predictor()
    expected = list(trajectory(peer, lambda x, t: predict(x, t / 1000), START))
    assert_same(ours("heun", FlowConfig(), 10), expected[1::2] + expected[-1:])


def test_multistep_solvers_of_flow_equal_diffusers():
    """Diffusers begins a little short of pure noise; so do the levels here."""
    process, predict = FlowConfig().build(), a_predictor()
    for name, peer in {
        "dpmpp_2m": DPMSolverMultistepScheduler(
            1000, prediction_type="flow_prediction", use_flow_sigmas=True, final_sigmas_type="zero"
        ),
        "unipc": UniPCMultistepScheduler(1000, prediction_type="flow_prediction", use_flow_sigmas=True),
    }.items():
        peer.set_timesteps(12)
        times = [sigma.item() for sigma in peer.sigmas[:-1]]
        levels = [Level(t, 1 - t, t) for t in times] + [CLEAN]
        x, expected = START, []
        for now, t in zip(times, peer.timesteps, strict=True):  # their timesteps are rounded
            x = peer.step(predict(x, torch.full((2,), now)), t, x).prev_sample
            expected.append(x)
        assert_same(list(SAMPLERS[name].run(process.denoised(predict), START, levels, None)), expected)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_yields_after_every_step_and_ends_clean(name):
    process = (FlowConfig() if "flow" in SAMPLERS[name].processes else DiffusionConfig()).build()
    asked = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        asked.append(t)
        return a_predictor()(x, t)

    found = list(sample(name, process, network, Noise([1, 2], (4,), [3, 5]), steps=6))
    assert len(found) == 6
    assert len(asked) == {"plms": 7, "heun": 11}.get(name, 6)
    last = process.denoised(network)(found[-2], process.schedule.levels(6, "trailing")[-2])
    if name not in ("plms",):  # which mixes what it saw before to the end
        torch.testing.assert_close(found[-1], last, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_row_does_not_depend_on_its_batch_mates(name):
    process = (FlowConfig() if "flow" in SAMPLERS[name].processes else DiffusionConfig()).build()

    def alone(seed: int, length: int) -> Tensor:
        return list(sample(name, process, a_predictor(), Noise([seed], (4,), [length]), steps=5))[-1][0]

    together = list(sample(name, process, a_predictor(), Noise([7, 8, 9], (4,), [5, 3, 4]), steps=5))[-1]
    for row, seed, length in zip(together, [7, 8, 9], [5, 3, 4], strict=True):
        torch.testing.assert_close(row[:, :length], alone(seed, length), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [DiffusionConfig(zero_snr=True), FlowConfig()], ids=["zero-snr", "flow"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_pure_noise_is_no_division_by_zero(name, config):
    process = config.build()
    if process.kind in SAMPLERS[name].processes:
        found = list(sample(name, process, a_predictor(), Noise([1], (4,), [3]), steps=8))
        assert all(x.isfinite().all() and x.abs().max() < 30 for x in found)


@pytest.mark.parametrize(
    ("config", "asked", "told"),
    [
        (DiffusionConfig(), {"name": "dimm", "steps": 5}, r"no sampler 'dimm': did you mean ddim\?"),
        (DiffusionConfig(), {"name": "langevin", "steps": 5}, "there are ddpm, ddim, plms"),
        (DiffusionConfig(), {"name": "heun", "steps": 5}, "heun does not solve.*diffusion: take one of ddpm, ddim"),
        (FlowConfig(), {"name": "plms", "steps": 5}, "plms does not solve.*flow: take one of dpmpp_2m"),
        (DiffusionConfig(), {"name": "ddim", "steps": 0}, "1 to 1000 steps, not 0"),
        (DiffusionConfig(steps=50), {"name": "ddim", "steps": 51}, "1 to 50 steps, not 51"),
        (FlowConfig(), {"name": "euler", "steps": -1}, "1 to 1000 steps, not -1"),
        (
            FlowConfig(),
            {"name": "euler", "steps": 5, "eta": 0.5},
            "euler has no option 'eta': it has none",
        ),
        (DiffusionConfig(), {"name": "ddim", "steps": 5, "order": 2}, "ddim has no option 'order': it has eta"),
    ],
)
def test_what_cannot_be_sampled_is_said_before_any_work(config, asked, told):
    def network(x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError

    asked = dict(asked)
    with pytest.raises(ConfigError, match=told):
        sample(asked.pop("name"), config.build(), network, Noise([1], (4,), [3]), **asked)
