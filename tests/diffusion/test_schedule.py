import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from t2a.diffusion.process import DiffusionConfig, FlowConfig
from t2a.diffusion.schedule import (
    CLEAN,
    CosineConfig,
    Discrete,
    LinearConfig,
    ScaledLinearConfig,
    Straight,
    zero_terminal_snr,
)

PEERS = {
    "linear": (LinearConfig(), {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}),
    "scaled_linear": (
        ScaledLinearConfig(),
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    ),
    "cosine": (CosineConfig(), {"beta_schedule": "squaredcos_cap_v2"}),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("zero_snr", [False, True])
def test_schedules_equal_diffusers(name, zero_snr):
    config, settings = PEERS[name]
    bar = config.alphas_cumprod(1000)
    peer = DDIMScheduler(1000, rescale_betas_zero_snr=zero_snr, **settings).alphas_cumprod
    torch.testing.assert_close((zero_terminal_snr(bar) if zero_snr else bar).float(), peer, atol=2e-6, rtol=1e-4)


def test_zero_terminal_snr_keeps_the_first_step_and_leaves_nothing_in_the_last():
    bar = ScaledLinearConfig().alphas_cumprod(1000)
    scaled = zero_terminal_snr(bar)
    assert scaled[-1] == 0
    torch.testing.assert_close(scaled[0], bar[0])
    assert (scaled.diff() < 0).all()


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 7, 25, 1000])
def test_the_visited_times_equal_diffusers(spacing, steps):
    peer = DDIMScheduler(1000, timestep_spacing=spacing)
    peer.set_timesteps(steps)
    levels = Discrete(LinearConfig().alphas_cumprod(1000)).levels(steps, spacing)
    expected = [0] if (spacing, steps) == ("linspace", 1) else peer.timesteps.tolist()
    assert [level.t for level in levels[:-1]] == expected
    assert levels[-1] == CLEAN


def test_only_trailing_spacing_begins_with_the_most_noise_at_any_number_of_steps():
    schedule = Discrete(LinearConfig().alphas_cumprod(1000))
    assert {schedule.levels(steps, "trailing")[0].t for steps in range(1, 1001, 37)} == {999}
    assert schedule.levels(10, "leading")[0].t == 900


def test_log_snr_equals_diffusers_and_is_finite_at_terminal_snr_zero():
    peer = DPMSolverMultistepScheduler(1000, beta_schedule="linear")
    levels = Discrete(LinearConfig().alphas_cumprod(1000)).levels(1000, "leading")
    found = torch.tensor([level.log_snr for level in reversed(levels[:-1])])
    torch.testing.assert_close(found, peer.lambda_t, atol=1e-3, rtol=1e-4)
    assert Straight(None).levels(4, "trailing")[0].log_snr == pytest.approx(-13.863, abs=1e-3)


@pytest.mark.parametrize(
    "config",
    [DiffusionConfig(), FlowConfig(), FlowConfig(mean=0.7, std=0.4), FlowConfig(times="uniform")],
    ids=["steps", "logit-normal", "shifted", "uniform"],
)
def test_training_times_are_spread_as_their_quantiles_say(config):
    schedule = config.build().schedule
    drawn = schedule.draw(20000, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert drawn.min() >= 0
    assert drawn.max() <= schedule.horizon
    shares = torch.tensor([0.05, 0.3, 0.5, 0.8, 0.99])
    below = torch.stack([(drawn < limit).float().mean() for limit in schedule.quantile(shares)])
    torch.testing.assert_close(below, shares, atol=0.01, rtol=0)


def test_logit_normal_times_are_those_of_their_definition():
    schedule = FlowConfig(mean=0.5, std=0.8).build().schedule
    logits = schedule.draw(50000, torch.Generator().manual_seed(1), torch.device("cpu")).logit()
    assert logits.mean().item() == pytest.approx(0.5, abs=0.02)
    assert logits.std().item() == pytest.approx(0.8, abs=0.02)
