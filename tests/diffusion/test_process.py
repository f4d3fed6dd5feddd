import pytest
import torch
from torch import Tensor

from t2a.config import validate
from t2a.diffusion.process import PREDICTIONS, DiffusionConfig, FlowConfig, Process
from t2a.errors import ConfigError
from t2a.nn.frames import real_frames

CONFIGS = {"eps": DiffusionConfig(prediction="eps"), "v": DiffusionConfig(), "flow": FlowConfig()}
Z = torch.randn(3, 4, 2, 7, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(3, 4, 2, 7, generator=torch.Generator().manual_seed(1))
LENGTH = torch.tensor([7, 3, 5])


def times(process: Process) -> Tensor:
    return process.schedule.quantile(torch.tensor([0.1, 0.5, 0.9]))


@pytest.mark.parametrize("config", CONFIGS)
def test_the_target_costs_nothing_and_gives_the_latent_back(config):
    process = CONFIGS[config].build()
    t = times(process)
    alpha, sigma = (part.view(3, 1, 1, 1) for part in process.schedule.at(t))

    def knowing(x: Tensor, t: Tensor) -> Tensor:
        return process.prediction.target(Z, NOISE, alpha, sigma)

    assert process.loss_at(lambda x, t: knowing(x, t), Z, torch.full((3,), 7), t, NOISE).max() < 1e-10
    level = process.schedule.levels(10, "trailing")[4]
    alpha, sigma = level.alpha, level.sigma
    found = process.denoised(knowing)(process.noised(Z, level, NOISE), level)
    torch.testing.assert_close(found, Z, atol=1e-5, rtol=1e-5)


def test_the_loss_is_the_equation_of_the_paper():
    """Ho et al. (2020), eq. 14, over the real frames of each row."""
    process = CONFIGS["eps"].build()
    t = torch.tensor([10.0, 500.0, 999.0])
    found = process.loss_at(lambda x, t: 0.5 * x + 0.1, Z, LENGTH, t, NOISE)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    for row in range(3):
        bar = (1 - betas[: int(t[row]) + 1]).prod()
        x = bar.sqrt() * Z[row] + (1 - bar).sqrt() * NOISE[row]
        expected = ((NOISE[row] - 0.5 * x - 0.1) ** 2)[..., : LENGTH[row]].mean()
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)


def test_flow_s_target_points_from_the_latent_to_the_noise():
    process = CONFIGS["flow"].build()
    found = process.loss_at(lambda x, t: torch.zeros_like(x), Z, torch.full((3,), 7), torch.rand(3), NOISE)
    torch.testing.assert_close(found, ((NOISE - Z) ** 2).flatten(1).mean(1))


@pytest.mark.parametrize("config", CONFIGS)
def test_what_fills_rows_up_reaches_neither_the_loss_nor_the_network(config):
    process = CONFIGS[config].build()
    dirty, seen = Z.clone(), []
    for row, length in enumerate(LENGTH):
        dirty[row, ..., length:] = torch.nan

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen.append(x)
        return 0.3 * x + 1

    def shouting(x: Tensor, t: Tensor) -> Tensor:
        return network(x, t).masked_fill(~real_frames(LENGTH, x), 9.0)

    runs = ((network, Z), (network, dirty), (shouting, Z))
    first, *others = (process.loss(net, z, LENGTH, torch.Generator().manual_seed(2)) for net, z in runs)
    assert all(torch.equal(other, first) for other in others)
    assert all(torch.equal(x, seen[0]) for x in seen)
    assert (seen[0][1, ..., 3:] == 0).all()


def test_a_row_without_frames_costs_nothing():
    loss = CONFIGS["v"].build().loss(lambda x, t: x, Z, torch.tensor([7, 0, 5]))
    assert loss[1] == 0
    assert loss.isfinite().all()


def test_the_loss_is_float32_whatever_the_network_computes_in():
    loss = CONFIGS["v"].build().loss(lambda x, t: x.bfloat16(), Z.half(), LENGTH)
    assert loss.dtype == torch.float32


def test_the_same_generator_draws_the_same_loss():
    process = CONFIGS["flow"].build()
    first, again, other = (
        process.loss(lambda x, t: x, Z, LENGTH, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_min_snr_weighs_every_time_as_the_paper_s_table_says(prediction):
    """Hang et al. (2023), sec. 3.4: min(SNR, 5) / SNR for eps, min(SNR, 5) / (SNR + 1) for v."""
    process = DiffusionConfig(prediction=prediction, min_snr=5).build()
    t = torch.tensor([0.0, 100.0, 400.0, 999.0])
    alpha, sigma = process.schedule.at(t)
    snr = alpha**2 / sigma**2
    assert snr[0] > 5 > snr[-1]
    divisor = snr if prediction == "eps" else snr + 1
    torch.testing.assert_close(process.weight(t), snr.clamp(max=5) / divisor)
    plain = CONFIGS[prediction].build()
    found, unweighted = (part.loss_at(lambda x, t: x, Z, LENGTH, t[:3], NOISE) for part in (process, plain))
    torch.testing.assert_close(found, unweighted * process.weight(t)[:3])


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_weight_of_a_prediction_turns_errors_of_the_latent_into_its_own(name):
    prediction, alpha, sigma = PREDICTIONS[name], torch.tensor(0.6), torch.tensor(0.8)
    if name == "velocity":
        alpha, sigma = torch.tensor(0.3), torch.tensor(0.7)
    x = alpha * Z + sigma * NOISE
    out = prediction.target(Z, NOISE, alpha, sigma) + 0.1
    error = ((prediction.clean(x, out, alpha.item(), sigma.item()) - Z) ** 2).mean()
    torch.testing.assert_close(prediction.weight(alpha**2 / sigma**2) * error, torch.tensor(0.01), atol=1e-5, rtol=1e-3)


def test_noise_cannot_be_foreseen_from_pure_noise():
    with pytest.raises(ConfigError, match=r"zero_snr leaves nothing.*predict v"):
        validate(DiffusionConfig, {"zero_snr": True, "prediction": "eps"}, "recipe")
    with pytest.raises(ConfigError, match=r"counts 20,\d+ times: predict v"):
        validate(DiffusionConfig, {"schedule": {"kind": "cosine"}, "prediction": "eps"}, "recipe")
    with pytest.raises(ConfigError, match=r"in zero_snr's last step nothing: drop one"):
        validate(DiffusionConfig, {"zero_snr": True, "min_snr": 5}, "recipe")
