import pytest
import torch

from t2a.errors import ConfigError
from t2a.generate.precision import quicken
from t2a.nn.condition import Condition
from t2a.tokens.sampling import Sampling
from tests.generate.tiny import Letters, build, build_diffusion
from tests.models.test_denoiser import NETWORKS
from tests.models.test_denoiser import build as build_denoiser

CPU = torch.device("cpu")


@pytest.mark.parametrize("options", [{}, {"kv_heads": 1, "qk_norm": True, "activation": "swiglu"}], ids=str)
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-6), ("bfloat16", 0.02), ("int8", 0.1)])
@torch.inference_mode()
def test_quickened_logits_are_close(precision, limit, options):
    model, told = build(**options).model, {"text": Letters()(["rain", "dogs bark"])}
    codes = torch.randint(0, 32, (2, 3, 20))
    expected = model(codes, told)
    quicken(model, CPU, precision)
    assert float((model(codes, told) - expected).norm() / expected.norm()) < limit


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_a_quickened_model_gives_the_same_codes_alone_and_in_any_batch(precision):
    generator, prompts = build(), ["rain", "a long train passes by", ""]
    quicken(generator.model, CPU, precision)
    together = generator.codes(prompts, 20, [5, 6, 7], Sampling())
    for row in range(3):
        assert torch.equal(generator.codes(prompts[row : row + 1], 20, [5 + row], Sampling())[0], together[row])


def test_int8_on_a_gpu_is_refused():
    with pytest.raises(ConfigError, match="for the CPU, not for cuda"):
        quicken(build().model, torch.device("cuda"), "int8")


def test_a_denoiser_that_is_told_nothing_generates_when_quickened():
    generator = build_diffusion(conditions={})
    quicken(generator.model, CPU, "bfloat16")
    assert generator.generate(["rain"], 0.02, seeds=[1], steps=2)[0].shape[0] == 1


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-5), ("bfloat16", 0.03), ("int8", 0.2)])
@torch.inference_mode()
def test_quickened_denoisers_predict_about_the_same(precision, limit, kind):
    model = build_denoiser(kind)
    x, t, length = torch.randn(2, *model.config.latent, 7), torch.tensor([10.0, 900.0]), torch.tensor([4, 7])
    told = {"text": Condition(torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool))}
    expected = model(x, t, length, told)
    quicken(model, CPU, precision)
    found = model.predict(x, t, length, model.read(told, 2))
    assert found.dtype == torch.float32
    assert float((found - expected).norm() / expected.norm()) < limit
