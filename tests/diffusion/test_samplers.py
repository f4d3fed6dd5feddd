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

from t2a.diffusion.process import DiffusionConfig, FlowConfig
from t2a.diffusion.samplers import SAMPLERS
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
    from t2a.diffusion.schedule import CLEAN, Level

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
