"""The U-Net of Make-An-Audio against diffusers', in turns in one run: `pytest tests/benchmarks -k denoiser`."""

import copy
import statistics
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from t2a.audio import torchaudio_backend  # noqa: F401  makes torchaudio importable for diffusers
from t2a.generate.precision import quicken
from t2a.interop.unet_names import own_names
from t2a.models.denoiser import ConditionConfig, Denoiser, DenoiserConfig
from t2a.models.unet import UNetConfig
from t2a.nn.condition import Condition
from t2a.nn.packed import Precision
from t2a.train.optim import OptimConfig, adamw
from tests.benchmarks.turns import Work, in_turns, ratios, seconds

ROWS, BANDS, FRAMES, WORDS, WIDTH = 2, 10, 78, 77, 1024  # 10 s, with and without its caption
PRECISIONS: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


pytestmark = pytest.mark.usefixtures("one_thread")


def theirs() -> nn.Module:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(320, 640), cross_attention_dim=WIDTH, attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
    )  # fmt: skip


def ours(peer: nn.Module) -> Denoiser:
    """The peer's weights."""
    told = {"text": ConditionConfig(width=WIDTH, dropout=0.0)}
    model = Denoiser(DenoiserConfig(latent=(4, BANDS), max_frames=FRAMES, network=UNetConfig(), conditions=told))
    with torch.no_grad():
        model.network.load_state_dict(own_names(peer.state_dict(), model.network, "diffusers"))
        nn.init.eye_(model.projections["text"].weight)
        nn.init.zeros_(model.projections["text"].bias)
    return model


def batch() -> tuple[Tensor, Tensor, Condition]:
    torch.manual_seed(1)
    told = Condition(torch.randn(ROWS, WORDS, WIDTH), torch.ones(ROWS, WORDS, dtype=torch.bool))
    return torch.randn(ROWS, 4, BANDS, FRAMES), torch.full((ROWS,), 500.0), told


def our_step(model: Denoiser, precision: Precision) -> Work:
    """One step of sampling; the caption is read before it, once for all steps."""
    x, t, told = batch()
    quick = copy.deepcopy(model).eval()
    quicken(quick, torch.device("cpu"), precision)
    context = quick.read({"text": told}, ROWS)
    return lambda: quick.predict(x, t, None, context)


def their_step(model: nn.Module, dtype: torch.dtype) -> Work:
    x, t, told = batch()
    cast = copy.deepcopy(model).eval().to(dtype)
    x, tokens = x.to(dtype), told.tokens.to(dtype)
    return lambda: cast(x, t, tokens).sample


@pytest.mark.timeout(900)
@torch.inference_mode()
def test_a_guided_step_against_the_peer_s(benchmark):
    """Both rows of guidance through 160 M parameters, and what its multiplications need at the speed of the largest."""
    peer = theirs()
    model = ours(peer)
    works = {f"diffusers {name}": their_step(peer, dtype) for name, dtype in PRECISIONS.items()}
    works |= {name: our_step(model, name) for name in PRECISIONS}
    exact = works["diffusers float32"]()
    errors = {name: float((work().float() - exact).std() / exact.std()) for name, work in works.items()}
    spent = benchmark.pedantic(in_turns, (works,), rounds=1)
    against = ratios(spent, "diffusers float32")
    took = {name: statistics.median(each) for name, each in spent.items()}
    benchmark.extra_info |= {"seconds": took, "ratios": against, "errors": errors}
    with FlopCounterMode(display=False) as counted:
        context = model.read({"text": batch()[2]}, ROWS)
        model.predict(*batch()[:2], None, context)
    work = counted.get_total_flops()
    for name, dtype in PRECISIONS.items():
        bound = work / multiplications(dtype)
        benchmark.extra_info[f"bound {name}"] = bound
        print(f"\n{name}: {work / 1e9:.0f} GFLOP, bound {bound:.2f} s, {bound / took[name]:.0%}")
    for name in works:
        print(f"  {name}: {took[name]:.2f} s, {against.get(name, 1.0):.2f} x, error {errors[name]:.1e}")
    assert errors["float32"] < 1e-4
    # Guards against a broken path; the goals are 1 and 1.8.
    assert against["float32"] > 0.9
    assert against["bfloat16"] > 1.4


def multiplications(dtype: torch.dtype) -> float:
    """Operations a second of a matrix product as large as the network's, by oneDNN."""
    rows, width = ROWS * BANDS * FRAMES, 1280
    x, weight = torch.randn(rows, width, dtype=dtype), torch.randn(width, width, dtype=dtype)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    took = min(seconds(lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")) for _ in range(9))
    return 2 * rows * width * width / took


def training(predict: Callable[[], Tensor], optimizer: torch.optim.Optimizer, dtype: torch.dtype) -> Work:
    """Forward, backward and the optimizer."""
    noise = torch.randn(ROWS, 4, BANDS, FRAMES)

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = nn.functional.mse_loss(predict().float(), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_training(peer: nn.Module, dtype: torch.dtype) -> Work:
    model, (x, t, told) = ours(peer).train(), batch()
    length = torch.full((ROWS,), FRAMES)
    return training(lambda: model(x, t, length, {"text": told}), adamw(OptimConfig(), model), dtype)


def their_training(peer: nn.Module, dtype: torch.dtype) -> Work:
    model, (x, t, told) = copy.deepcopy(peer).train(), batch()
    return training(lambda: model(x, t, told.tokens).sample, torch.optim.AdamW(model.parameters(), lr=1e-4), dtype)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_training_step_against_the_peer_s(precision, benchmark):
    """Two clips of 10 s."""
    peer, dtype = theirs(), PRECISIONS[precision]
    works = {"diffusers": their_training(peer, dtype), "t2a": our_training(peer, dtype)}
    spent = benchmark.pedantic(in_turns, (works,), rounds=1)
    took = {name: statistics.median(each) for name, each in spent.items()}
    against = ratios(spent, "diffusers")["t2a"]
    benchmark.extra_info |= {"seconds": took, "ratio": against}
    print(f"\n{precision}: diffusers {took['diffusers']:.2f} s, t2a {took['t2a']:.2f} s, {against:.2f} x")
    assert against > 0.8  # a guard; the goal is 1
