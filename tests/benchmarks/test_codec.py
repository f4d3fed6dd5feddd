"""The codec against its peers on one thread, and what a training step costs: `pytest tests/benchmarks -k codec`."""

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from t2a.audio import torchaudio_backend  # noqa: F401  makes torchaudio importable for the peers
from t2a.metrics.signal import si_snr
from t2a.models.codec import Codec, CodecConfig
from t2a.nn.quantize import QuantizerConfig
from t2a.tasks.codec import CodecTask, CodecTaskConfig
from t2a.train.optim import OptimConfig, adamw

SECONDS, ROUNDS = 4, 7
CONFIGS = {
    "16 kHz": CodecConfig(),
    "32 kHz": CodecConfig(sample_rate=32000, ratios=(8, 5, 4, 4)),
    "24 kHz at 6 kbit/s": CodecConfig(
        sample_rate=24000,
        filters=32,
        causal=True,
        pad_mode="reflect",
        shortcut="conv",
        quantizer=QuantizerConfig(codebooks=32, bins=1024, dropout=True),
    ),
}
CODEBOOKS = {"16 kHz": 4, "32 kHz": 4, "24 kHz at 6 kbit/s": 8}
Work = Callable[[], object]


pytestmark = pytest.mark.usefixtures("one_thread")


def transformers_peer(config: CodecConfig, wave: Tensor) -> dict[str, Work]:
    from transformers import EncodecConfig, EncodecModel

    bandwidth = 6.0 if config.causal else 2.2
    shape = EncodecConfig(
        target_bandwidths=[bandwidth],
        sampling_rate=config.sample_rate,
        codebook_size=config.quantizer.bins,
        num_filters=config.filters,
        upsampling_ratios=list(config.ratios),
        use_causal_conv=config.causal,
        use_conv_shortcut=config.shortcut == "conv",
        pad_mode=config.pad_mode,
    )
    model = EncodecModel(shape).eval()
    with torch.inference_mode():
        codes = model.encode(wave, bandwidth=bandwidth)
    return {
        "encode": lambda: model.encode(wave, bandwidth=bandwidth),
        "decode": lambda: model.decode(codes.audio_codes, codes.audio_scales),
    }


def encodec_peer(config: CodecConfig, wave: Tensor) -> dict[str, Work]:
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(6.0)
    with torch.inference_mode():
        frames = model.encode(wave)
    return {"encode": lambda: model.encode(wave), "decode": lambda: model.decode(frames)}


def ours(codec: Codec, wave: Tensor, codebooks: int) -> dict[str, Work]:
    wave = wave.to(next(codec.encoder.parameters()).dtype)
    codes = torch.randint(0, codec.bins, (1, codebooks, -(-wave.shape[-1] // codec.hop)))
    return {"encode": lambda: codec.encode(wave, codebooks), "decode": lambda: codec.decode(codes)}


def seconds(work: Work) -> float:
    """CPU-seconds of this process: others on the machine count for less than in wall time."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CONFIGS)
def test_coding_is_quicker_than_the_peers(name, benchmark):
    """In turns, since the speed of a machine drifts; ratios are medians over the rounds of one run."""
    config = CONFIGS[name]
    torch.manual_seed(0)
    wave = 0.1 * torch.randn(1, 1, SECONDS * config.sample_rate)
    runners = {"t2a": ours(Codec(config).eval().fold(), wave, CODEBOOKS[name])}
    runners["t2a bf16"] = ours(Codec(config).eval().fold().bfloat16(), wave, CODEBOOKS[name])
    runners["transformers"] = transformers_peer(config, wave)
    if config.causal:
        runners["encodec"] = encodec_peer(config, wave)
    spent: dict[tuple[str, str], list[float]] = {}

    @torch.inference_mode()
    def compare() -> None:
        for turn in range(ROUNDS + 1):
            for work in ("encode", "decode"):
                for runner, works in runners.items():
                    took = seconds(works[work])
                    if turn:  # the first warms up
                        spent.setdefault((runner, work), []).append(took)

    benchmark.pedantic(compare, rounds=1)
    for work in ("encode", "decode"):
        speeds = {runner: SECONDS / statistics.median(spent[runner, work]) for runner in runners}
        ratios = {
            f"{mine} / {peer}": statistics.median(
                p / m for m, p in zip(spent[mine, work], spent[peer, work], strict=True)
            )
            for mine in ("t2a", "t2a bf16")
            for peer in runners
            if not peer.startswith("t2a")
        }
        benchmark.extra_info |= {f"{work} x real time": speeds, f"{work} ratios": ratios}
        print(f"\n{name} {work}: " + ", ".join(f"{runner} {speed:.1f}x" for runner, speed in speeds.items()))
        print("  " + ", ".join(f"{pair} {ratio:.2f}" for pair, ratio in ratios.items()))
        # Guards against a broken path; the goals are 1.3 in float32 and 2 in bfloat16.
        assert min(ratio for pair, ratio in ratios.items() if "bf16" not in pair) > 0.9
        assert min(ratio for pair, ratio in ratios.items() if "bf16" in pair) > 1.2


@pytest.mark.parametrize("name", CONFIGS)
def test_what_bfloat16_costs(name, benchmark):
    """The noise that bfloat16 adds to the same codes' wave, and the share of codes that it changes."""
    config = CONFIGS[name]
    torch.manual_seed(0)
    codec = Codec(config).train()
    with torch.no_grad():
        codec(0.1 * torch.randn(2, 1, 2 * config.sample_rate))  # codes where latents are
    codec.eval().fold()
    wave = 0.1 * torch.randn(1, 1, config.sample_rate)
    with torch.inference_mode():
        codes = codec.encode(wave, CODEBOOKS[name])
        exact = codec.decode(codes)
        codec.bfloat16()
        noise = si_snr(benchmark.pedantic(codec.decode, (codes,), rounds=1), exact).item()
        same = (codec.encode(wave.bfloat16(), CODEBOOKS[name]) == codes).float().mean((0, 2)).tolist()
    benchmark.extra_info |= {"SI-SNR against float32": noise, "codes kept": same}
    kept = ", ".join(f"{share:.0%}" for share in same)
    print(f"\n{name}: bf16 wave against fp32 wave {noise:.1f} dB; codes kept by codebook {kept}")
    assert noise > 20


@pytest.mark.timeout(600)
@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "autocast"])
def test_a_training_step_of_real_size(autocast, benchmark):
    """Two clips of 1 s at 16 kHz through codec, critic, losses, both backward passes and both optimizers.

    The recipe of the real size trains with autocast to bfloat16.
    """
    torch.manual_seed(0)
    task = CodecTask(CodecTaskConfig())
    nets = {name: net.train() for name, net in task.networks().items()}
    optimizers = {name: adamw(OptimConfig(betas=(0.5, 0.9)), net) for name, net in nets.items()}
    batch = {"audio": 0.1 * torch.randn(2, 1, 16000), "length": torch.tensor([16000, 16000])}
    with torch.no_grad():
        nets["codec"](batch["audio"])  # k-means belongs to no step
    clock = Clock(task, nets)

    @torch.autocast("cpu", torch.bfloat16, enabled=autocast)
    def step() -> None:
        clock.begin()
        for name, loss, _ in task.losses(nets, batch, 0):
            clock.lap("gradients of the losses")
            optimizers[name].zero_grad()
            loss.backward()
            clock.lap(f"backward of the {name}")
            optimizers[name].step()
            clock.lap(f"optimizer of the {name}")

    step()
    clock.laps.clear()
    benchmark.pedantic(step, rounds=5)
    parts = {name: sum(took) / 5 for name, took in clock.laps.items()}
    whole = sum(parts.values())
    benchmark.extra_info |= {"CPU-seconds": whole, "parts": parts}
    print(
        f"\n{'autocast' if autocast else 'fp32'}: {whole:.2f} CPU-s a step: "
        + ", ".join(f"{name} {took:.2f}" for name, took in parts.items())
    )
    left, right = torch.randn(2, 1024, 1024)
    product = statistics.median(seconds(lambda: left @ right) for _ in range(20))
    print(f"a matrix product of 1024 runs at {2 * 1.024**3 / product:.0f} GFLOP/s")


class Clock:
    """CPU-seconds of each part of a step; forward passes are parts of their own."""

    def __init__(self, task: CodecTask, nets: dict[str, nn.Module]) -> None:
        self.laps: dict[str, list[float]] = {}
        self.begin()
        for name, module in {**nets, "mel loss": task.mel}.items():
            module.register_forward_pre_hook(lambda *_: self.lap("gradients of the losses"))
            module.register_forward_hook(lambda *_, name=name: self.lap(f"forward of the {name}"))

    def begin(self) -> None:
        self.last = time.process_time()

    def lap(self, name: str) -> None:
        now = time.process_time()
        self.laps.setdefault(name, []).append(now - self.last)
        self.last = now
