"""The language model against transformers' MusicGen, in turns in one run: `pytest tests/benchmarks -k lm`."""

import copy
import statistics
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from t2a.generate.precision import quicken
from t2a.generate.session import Session
from t2a.models.lm import LM, ConditionConfig, LMConfig
from t2a.nn.condition import Condition
from t2a.nn.packed import Precision
from t2a.tasks.lm import cross_entropy
from t2a.tokens.sampling import Sampling
from t2a.train.optim import OptimConfig, adamw
from tests.benchmarks.turns import Work, in_turns, ratios, seconds

WIDTH, LAYERS, HEADS, CODEBOOKS, BINS, WORDS = 512, 8, 8, 4, 2048, 16
FRAMES = 60
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def ours() -> LM:
    """The base size, put together as MusicGen is."""
    torch.manual_seed(0)
    text = ConditionConfig(width=WIDTH, fuse=("cross",), dropout=0.0)
    sizes = {"codebooks": CODEBOOKS, "bins": BINS, "width": WIDTH, "layers": LAYERS, "heads": HEADS}
    return LM(LMConfig(**sizes, embedding="sum", conditions={"text": text}))


def theirs() -> nn.Module:
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    torch.manual_seed(0)
    config = MusicgenDecoderConfig(
        vocab_size=BINS, num_codebooks=CODEBOOKS, hidden_size=WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, ffn_dim=4 * WIDTH, dropout=0.0, layerdrop=0.0,
    )  # fmt: skip
    model = MusicgenForCausalLM(config)
    for name in ("pad_token_id", "bos_token_id", "decoder_start_token_id"):
        setattr(model.generation_config, name, BINS)
    return model


def quick(precision: Precision) -> LM:
    model = ours().eval()
    quicken(model, torch.device("cpu"), precision)
    return model


def our_work(model: LM, rows: int) -> Work:
    """Guided generation of `FRAMES` frames in the delay pattern."""
    told = {"text": Condition(torch.randn(rows, WORDS, WIDTH), torch.ones(rows, WORDS, dtype=torch.bool))}
    given = torch.zeros(rows, CODEBOOKS, 0, dtype=torch.int64)

    def work() -> object:
        session = Session(model, told, range(rows), Sampling(3.0, 1.0, 250))
        return torch.cat(list(session.window(given, FRAMES)), dim=2)

    return work


def their_work(model: nn.Module, rows: int) -> Work:
    """As ours; frames and the delays of the pattern make as many steps."""
    states = torch.cat([torch.randn(rows, WORDS, WIDTH), torch.zeros(rows, WORDS, WIDTH)])
    start = torch.full((rows * CODEBOOKS, 1), BINS)
    how = {
        "do_sample": True,
        "num_return_sequences": 1,
        "top_k": 250,
        "guidance_scale": 3.0,
        "max_new_tokens": FRAMES + CODEBOOKS - 1,
    }
    return lambda: model.generate(
        start, encoder_hidden_states=states, encoder_attention_mask=torch.ones(2 * rows, WORDS), **how
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [1, 4])
def test_guided_generation_is_quicker_than_the_peer_s(rows, threads, benchmark):
    torch.set_num_threads(threads)
    works = {"transformers": their_work(theirs().eval(), rows)}
    works |= {precision: our_work(quick(precision), rows) for precision in PRECISIONS}
    spent = benchmark.pedantic(torch.inference_mode()(in_turns), (works,), rounds=1)
    rates = {name: rows * CODEBOOKS * FRAMES / statistics.median(took) for name, took in spent.items()}
    against = ratios(spent, "transformers")
    benchmark.extra_info |= {"codes a second": rates, "ratios": against}
    print(
        f"\n{rows} rows, {threads} threads: " + ", ".join(f"{name} {rate:.0f} codes/s" for name, rate in rates.items())
    )
    print("  against transformers: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in against.items()))
    # Guards against a broken path; the goals are 1.8 (one row) and 2.5 (four) in float32, and 4 in the quickest mode.
    assert against["float32"] > 1.3
    assert max(against.values()) > 2


def test_what_bounds_a_step(benchmark):
    """Every weight is read once a step: bytes of weights over the bandwidth of reading, on one thread."""
    torch.set_num_threads(1)
    large = torch.randn(2**26)
    gigabytes = large.numel() * 4 / min(seconds(large.sum) for _ in range(5)) / 1e9
    model = ours()
    read = sum(p.numel() for name, p in model.named_parameters() if name.startswith(("decoder", "heads")))
    read -= sum(p.numel() for name, p in model.named_parameters() if "key_value" in name)  # once a clip
    works = {precision: our_work(quick(precision), 1) for precision in PRECISIONS}
    spent = benchmark.pedantic(torch.inference_mode()(in_turns), (works,), rounds=1)
    print(f"\n{read / 1e6:.1f} M weights a step, {gigabytes:.1f} GB/s")
    for size, (name, took) in zip((4, 2, 1), spent.items(), strict=True):
        step, bound = statistics.median(took) / (FRAMES + CODEBOOKS - 1), read * size / gigabytes / 1e9
        benchmark.extra_info[name] = {"step": step, "bound": bound}
        print(f"  {name}: a step of {1000 * step:.2f} ms, bound {1000 * bound:.2f} ms, {bound / step:.0%}")


@torch.inference_mode()
def test_what_less_precision_costs(benchmark):
    """The error of the logits over a clip of random codes, as a share of their standard deviation."""
    model = ours().eval()
    model.heads.weight.mul_(10)  # logits as decided as those of a trained model
    told = {"text": Condition(torch.randn(2, WORDS, WIDTH), torch.ones(2, WORDS, dtype=torch.bool))}
    codes = torch.randint(0, BINS, (2, CODEBOOKS, 100))
    exact = benchmark.pedantic(model, (codes, told), rounds=1)
    for precision in PRECISIONS:
        lesser = copy.deepcopy(model)
        quicken(lesser, torch.device("cpu"), precision)
        logits = lesser(codes, told)
        error = float((logits - exact).std() / exact.std())
        divergence = nn.functional.kl_div(
            logits.log_softmax(-1), exact.log_softmax(-1), log_target=True, reduction="none"
        )
        nats = float(divergence.sum(-1).mean())
        benchmark.extra_info[precision] = {"error": error, "nats": nats}
        print(f"\n{precision}: logits differ by {error:.2e} of their deviation, {nats:.2e} nats a code")
        assert error < 0.05


def our_step(dtype: torch.dtype) -> Work:
    model = ours().train()
    optimizer = adamw(OptimConfig(), model)
    codes, told, _ = training_batch()

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = model(codes, told)
        loss = cross_entropy(logits, codes, torch.ones_like(codes, dtype=torch.bool)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def their_step(dtype: torch.dtype) -> Work:
    model = theirs().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    codes, _, states = training_batch()

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = model(codes.flatten(0, 1), encoder_hidden_states=states).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), codes.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def training_batch() -> tuple[Tensor, dict[str, Condition], Tensor]:
    torch.manual_seed(0)
    states = torch.randn(2, WORDS, WIDTH)
    codes = torch.randint(0, BINS, (2, CODEBOOKS, 250))
    return codes, {"text": Condition(states, torch.ones(2, WORDS, dtype=torch.bool))}, states


@pytest.mark.timeout(900)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_training_step_against_the_peer_s(threads, benchmark):
    """Two clips of 250 frames of 4 codes: forward, backward and AdamW."""
    torch.set_num_threads(threads)
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    works = {f"transformers {name}": their_step(dtype) for name, dtype in kinds.items()}
    works |= {name: our_step(dtype) for name, dtype in kinds.items()}
    spent = benchmark.pedantic(in_turns, (works,), rounds=1)
    rates = {name: 2 * 250 * CODEBOOKS / statistics.median(took) for name, took in spent.items()}
    against = {name: ratios(spent, f"transformers {name}")[name] for name in kinds}
    benchmark.extra_info |= {"codes a second": rates, "ratios": against}
    print(f"\n{threads} threads: " + ", ".join(f"{name} {rate:.0f} codes/s" for name, rate in rates.items()))
    print("  against transformers: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in against.items()))
    assert against["float32"] > 0.8  # a guard; the goal is 1.1
