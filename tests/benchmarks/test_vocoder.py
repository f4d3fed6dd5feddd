"""Vocoders against their peers on one thread, at equal mel and shape: `pytest tests/benchmarks -k vocoder`."""

import statistics
import time
from collections.abc import Callable

import pytest
import torch

from t2a.audio import torchaudio_backend  # noqa: F401  makes torchaudio importable for the peers
from t2a.metrics.signal import si_snr
from t2a.models.vocoder import GriffinLim, HifiGan, HifiGanConfig, Vocos, VocosConfig
from t2a.tasks.vocoder import VocoderTaskConfig
from t2a.train.optim import OptimConfig, adamw

SECONDS, ROUNDS = 4, 5
Work = Callable[[], object]


pytestmark = pytest.mark.usefixtures("one_thread")


def spectrogram() -> torch.Tensor:
    """A mel spectrogram [1, M, L] of some seconds at the default recipe's 62.5 frames a second."""
    spec = VocosConfig().mel
    frames = round(SECONDS * spec.rate / spec.hop)
    return torch.randn(1, spec.n_mels, frames, generator=torch.Generator().manual_seed(0)) - 3


def peers(mel: torch.Tensor) -> dict[str, Work]:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone

    shape = SpeechT5HifiGanConfig(
        upsample_rates=[8, 8, 2, 2], upsample_kernel_sizes=[16, 16, 4, 4], normalize_before=False
    )
    hifigan = SpeechT5HifiGan(shape).eval()
    backbone, head = VocosBackbone(80, 512, 1536, 8).eval(), ISTFTHead(512, 1024, 256, "center").eval()
    turned = mel.mT.contiguous()
    return {"transformers HiFi-GAN V1": lambda: hifigan(turned), "vocos package": lambda: head(backbone(mel))}


@pytest.mark.timeout(600)
def test_vocoding_is_quicker_than_the_peers(benchmark):
    """In turns, since the speed of a machine drifts; ratios are medians over the rounds of one run."""
    torch.manual_seed(0)
    mel, works = spectrogram(), {}
    for name, config in (("Vocos", VocosConfig()), ("HiFi-GAN V1", HifiGanConfig())):
        for suffix, dtype in (("", torch.float32), (" bf16", torch.bfloat16)):
            model = config.build().eval().fold().to(dtype)
            works[f"t2a {name}{suffix}"] = lambda model=model: model(mel)
    griffin_lim = GriffinLim(VocosConfig().mel)
    works["t2a Griffin-Lim"] = lambda: griffin_lim(mel)
    works |= peers(mel)
    spent: dict[str, list[float]] = {name: [] for name in works}

    @torch.inference_mode()
    def compare() -> None:
        for turn in range(ROUNDS + 1):
            for name, work in works.items():
                begin = time.process_time()  # others on the machine count for less than in wall time
                work()
                if turn:  # the first warms up
                    spent[name].append(time.process_time() - begin)

    benchmark.pedantic(compare, rounds=1)

    def ratio(mine: str, peer: str) -> float:
        return statistics.median(p / m for m, p in zip(spent[mine], spent[peer], strict=True))

    speeds = {name: SECONDS / statistics.median(took) for name, took in spent.items()}
    hifigan, package = "transformers HiFi-GAN V1", "vocos package"
    ratios = {f"{mine} / {hifigan}": ratio(mine, hifigan) for mine in works if mine.startswith("t2a")}
    ratios |= {f"{mine} / {package}": ratio(mine, package) for mine in ("t2a Vocos", "t2a Vocos bf16")}
    benchmark.extra_info |= {"x real time": speeds, "ratios": ratios}
    print("\n" + "\n".join(f"{name}: {speed:.1f}x real time" for name, speed in speeds.items()))
    print("\n".join(f"  {pair} {value:.2f}" for pair, value in ratios.items()))
    # Guards against a broken path; the goal of a Vocos against a HiFi-GAN is 10.
    assert ratios[f"t2a Vocos / {hifigan}"] > 7
    assert ratios[f"t2a HiFi-GAN V1 / {hifigan}"] > 0.9
    assert ratios[f"t2a Vocos / {package}"] > 0.8


@pytest.mark.parametrize("kind", [Vocos, HifiGan])
def test_what_bfloat16_costs(kind, benchmark):
    """The noise that bfloat16 adds to the wave of the same spectrogram, before any training."""
    torch.manual_seed(0)
    model, mel = kind(kind.config_class()).eval().fold(), spectrogram()
    with torch.inference_mode():
        exact = model(mel)
        noise = si_snr(benchmark.pedantic(model.bfloat16(), (mel,), rounds=1), exact).item()
    benchmark.extra_info |= {"SI-SNR against float32": noise}
    print(f"\n{kind.__name__}: bf16 wave against fp32 wave {noise:.1f} dB")
    assert noise > 15


@pytest.mark.timeout(600)
@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "autocast"])
def test_a_training_step_of_real_size(autocast, benchmark):
    """Two clips of 1 s at 16 kHz through the published Vocos, its critics, losses and both optimizers."""
    torch.manual_seed(0)
    task = VocoderTaskConfig().build()
    nets = {name: net.train() for name, net in task.networks().items()}
    optimizers = {name: adamw(OptimConfig(), net) for name, net in nets.items()}
    batch = {"audio": 0.1 * torch.randn(2, 1, 16000), "length": torch.tensor([16000, 16000])}

    @torch.autocast("cpu", torch.bfloat16, enabled=autocast)
    def step() -> float:
        begin = time.process_time()
        for name, loss, _ in task.losses(nets, batch, 0):
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()
        return time.process_time() - begin

    step()
    took = statistics.median(benchmark.pedantic(lambda: [step() for _ in range(3)], rounds=1))
    benchmark.extra_info |= {"CPU-seconds": took}
    print(f"\n{'autocast' if autocast else 'fp32'}: {took:.2f} CPU-s a step")
