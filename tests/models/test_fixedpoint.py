"""The integer model: as good as the float model, and the same to the last bit however it is computed."""

import itertools
import math
import zlib

import numpy as np
import pytest
import torch
from torch import Tensor

from t2a.models import fixedpoint
from t2a.models.entropy import EntropyConfig, EntropyModel
from t2a.models.fixedpoint import TOTAL, IntegerModel, quantise

CONFIG = EntropyConfig(codebooks=3, bins=21, past=6, width=24, layers=2, heads=4)


@pytest.fixture(scope="module")
def model() -> EntropyModel:
    torch.manual_seed(0)
    made = EntropyModel(CONFIG).eval()
    torch.nn.init.normal_(made.heads, std=0.5)
    for block in made.blocks:
        torch.nn.init.normal_(block.attention.distance)
    return made


@pytest.fixture(scope="module")
def integer(model) -> IntegerModel:
    return quantise(model)


def some_codes(rows: int = 2, frames: int = 40) -> Tensor:
    return torch.randint(0, CONFIG.bins, (rows, CONFIG.codebooks, frames), generator=torch.Generator().manual_seed(1))


def frequencies(model: IntegerModel, codes: Tensor, block: int = 1000) -> Tensor:
    state = model.start(len(codes), codes.shape[2])
    return torch.cat([model.read(part, state) for part in codes.split(block, dim=2)], dim=1)


def walked(model: IntegerModel, codes: Tensor) -> Tensor:
    """The frequencies that a decoder sees, which gets to know code after code."""
    state, seen = model.start(len(codes), codes.shape[2]), []
    for frame in range(codes.shape[2]):
        answers = iter(codes[:, :, frame].unbind(1))

        def choose(counts: Tensor, answers=answers) -> Tensor:
            seen.append(counts)
            return next(answers)

        assert torch.equal(model.walk(codes.shape[1], choose, state)[..., 0], codes[:, :, frame])
    return torch.stack(seen, dim=1).unflatten(1, (codes.shape[2], -1))


def test_every_code_can_occur_and_frequencies_add_up(integer):
    found = frequencies(integer, some_codes())
    assert found.dtype == torch.int64
    assert found.min() >= 1
    assert (found.sum(-1) == TOTAL).all()


def test_rounding_costs_next_to_nothing(model, integer):
    codes = some_codes(4, 60)
    with torch.no_grad():
        expected = model(codes).double().softmax(-1)
    found = frequencies(integer, codes) / TOTAL
    wasted = (expected * (expected / found).log2()).sum(-1)
    entropy = -(expected * expected.log2()).sum(-1)
    assert entropy.mean() < 0.95 * math.log2(CONFIG.bins)  # there is something to get wrong
    assert wasted.mean() < 1e-4 * entropy.mean()


def test_all_ways_to_compute_give_the_same_bits(integer):
    codes = some_codes(3)
    expected = frequencies(integer, codes)
    assert torch.equal(frequencies(integer, codes, block=1), expected)
    assert torch.equal(frequencies(integer, codes, block=7), expected)
    assert torch.equal(walked(integer, codes), expected)
    for row in range(3):
        assert torch.equal(frequencies(integer, codes[row : row + 1]), expected[row : row + 1])
    assert torch.equal(walked(integer, codes[:, :2]), frequencies(integer, codes[:, :2]))


def test_threads_default_types_and_autocast_change_nothing(integer):
    codes = some_codes(2)
    expected, threads, default = frequencies(integer, codes), torch.get_num_threads(), torch.get_default_dtype()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for dtype in (torch.float64, torch.bfloat16):
                torch.set_default_dtype(dtype)
                assert torch.equal(frequencies(integer, codes), expected)
                assert torch.equal(walked(integer, codes), expected)
                torch.set_default_dtype(default)
            with torch.autocast("cpu", torch.bfloat16):
                assert torch.equal(frequencies(integer, codes), expected)
                assert torch.equal(walked(integer, codes), expected)
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(default)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits(integer):
    codes = some_codes(2)
    expected = frequencies(integer, codes)
    try:
        moved = integer.to("cuda")
        assert torch.equal(frequencies(moved, codes.cuda()).cpu(), expected)
        assert torch.equal(walked(moved, codes.cuda()).cpu(), expected)
    finally:
        integer.to("cpu")


def test_a_file_and_a_cast_keep_every_integer(integer, tmp_path):
    expected = frequencies(integer, some_codes())
    integer.save_pretrained(tmp_path / "model")
    again = IntegerModel.from_pretrained(tmp_path / "model").to(torch.bfloat16).half()
    assert all(tensor.dtype == torch.float64 for tensor in again.buffers())
    assert torch.equal(frequencies(again, some_codes()), expected)
    assert all(torch.equal(tensor, tensor.round()) for tensor in again.buffers())


def test_codes_that_push_every_unit_to_its_limit_stay_exact():
    """Weights as large as are let through, so that clamps are at work everywhere: still integers, still the same."""
    made, draw = IntegerModel(CONFIG), np.random.default_rng(0)
    for buffer in made.buffers():
        buffer.copy_(torch.from_numpy(draw.integers(-(2**23), 2**23, tuple(buffer.shape)).astype(np.float64)))
    made.exponentials.copy_(quantise(EntropyModel(CONFIG)).exponentials)
    fixedpoint._check(made, CONFIG.width)
    codes = some_codes()
    assert torch.equal(walked(made, codes), frequencies(made, codes))


def test_sums_that_could_leave_the_exact_range_are_refused():
    wide = IntegerModel(EntropyConfig(codebooks=1, bins=2, past=1, width=640, layers=1, heads=8))
    wide.exponentials[0] = 1
    wide.mix.inward[3] = 2.0**23.6 // 1  # 640 of them, times 2^20, are a little less than 2^53
    fixedpoint._check(wide, 640)
    wide.mix.inward[3] = 2.0**23.8 // 1
    with pytest.raises(ValueError, match=r"mix\.inward is too large"):
        fixedpoint._check(wide, 640)


def test_weights_too_large_for_exact_sums_are_refused(model):
    broken = EntropyModel(CONFIG)
    broken.load_state_dict(model.state_dict())
    with torch.no_grad():
        broken.mix.outward.weight.mul_(1e5)
    with pytest.raises(ValueError, match=r"mix\.outward is too large for exact arithmetic"):
        quantise(broken)


@pytest.fixture(scope="module")
def plain() -> IntegerModel:
    """A model whose integers do not come from torch, so that they are the same in every version."""
    made = IntegerModel(EntropyConfig(codebooks=2, bins=5, past=3, width=6, layers=2, heads=2))
    draw = np.random.default_rng(7)
    for name, buffer in sorted(made.named_buffers()):
        most = 300 if name.endswith(("distance", "bias")) else 12000
        buffer.copy_(torch.from_numpy(draw.integers(-most, most, tuple(buffer.shape)).astype(np.float64)))
    made.exponentials.copy_(torch.tensor([float(2**20 * 255**i // 256**i) for i in range(4095)] + [0.0]))
    return made


def test_frequencies_are_those_of_python_s_integers(plain):
    codes = torch.randint(0, 5, (1, 2, 9), generator=torch.Generator().manual_seed(2))
    assert frequencies(plain, codes)[0].tolist() == reference(plain, codes[0].tolist())


def test_frequencies_are_what_they_were_on_other_machines(plain):
    codes = torch.tensor([[[(3 * t + k * t * t) % 5 for t in range(12)] for k in range(2)]])
    assert zlib.crc32(frequencies(plain, codes).numpy().astype("<i8").tobytes()) == GOLDEN


GOLDEN = 3873730717


def reference(model: IntegerModel, codes: list[list[int]]) -> list[list[list[int]]]:
    """The model of one sequence in unbounded integers, one scalar product at a time."""
    made = {
        name: [[int(v) for v in row] for row in b.reshape(-1, b.shape[-1]).tolist()]
        for name, b in model.named_buffers()
    }
    table, config = made["exponentials"][0], model.config
    limit = 2**20

    def shift(value: int, bits: int) -> int:
        whole, rest = value >> bits, value & (2**bits - 1)
        return whole + (rest > 2 ** (bits - 1) or (rest == 2 ** (bits - 1) and whole % 2 == 1)) if bits else value

    def clamp(value: int, low: int = -limit) -> int:
        return max(low, min(limit, value))

    def times(matrix: list[list[int]], x: list[int], bits: int) -> list[int]:
        return [shift(sum(w * v for w, v in zip(row, x, strict=True)), bits) for row in matrix]

    def norm(x: list[int]) -> list[int]:
        return [round(v * 2**16 / max(math.isqrt(sum(u * u for u in x)), 1)) for v in x]

    def add(*vectors: list[int]) -> list[int]:
        return [clamp(sum(parts)) for parts in zip(*vectors, strict=True)]

    def feedforward(name: str, x: list[int]) -> list[int]:
        units = [min(max(u, 0), 2**16) for u in times(made[f"{name}.inward"], norm(x), 18)]
        return add(x, times(made[f"{name}.outward"], [shift(u * u, 12) for u in units], 14))

    def attention(name: str, xs: list[list[int]]) -> list[list[int]]:
        parts = [[clamp(v) for v in times(made[f"{name}.inward"], norm(x), 18)] for x in xs]
        width, head = config.width, config.width // config.heads
        out = []
        for t, x in enumerate(xs):
            mean = []
            for h in range(config.heads):
                places = range(max(0, t - config.past + 1), t + 1)
                q = parts[t][h * head : (h + 1) * head]
                keys = [parts[s][width + h * head : width + (h + 1) * head] for s in places]
                values = [parts[s][2 * width + h * head : 2 * width + (h + 1) * head] for s in places]
                scores = [
                    shift(sum(a * b for a, b in zip(q, key, strict=True)), 16) + made[f"{name}.distance"][h][t - s]
                    for s, key in zip(places, keys, strict=True)
                ]
                weights = [table[min(max(scores) - score, 4095)] for score in scores]
                for i in range(head):
                    mean.append(round(sum(w * v[i] for w, v in zip(weights, values, strict=True)) / sum(weights)))
            out.append(add(x, times(made[f"{name}.outward"], mean, 14)))
        return out

    rows = [[made["frame"][k * config.bins + row[t]] for k, row in enumerate(codes)] for t in range(len(codes[0]))]
    xs = [made["start_frame"][0], *([sum(parts) for parts in zip(*row, strict=True)] for row in rows[:-1])]
    xs = [[clamp(v) for v in x] for x in xs]
    for layer in range(config.layers):
        xs = attention(f"blocks.{layer}.attention", xs)
        xs = [feedforward(f"blocks.{layer}.feedforward", x) for x in xs]
    result = []
    for t, x in enumerate(xs):
        seen, frame = [0] * config.width, []
        for k in range(config.codebooks):
            y = norm(feedforward("mix", add(x, made["place"][k], seen)))
            heads = made["heads"][k * config.bins : (k + 1) * config.bins]
            logits = [a + b for a, b in zip(times(heads, y, 22), made["bias"][k], strict=True)]
            sums = np.cumsum([table[min(max(logits) - logit, 4095)] for logit in logits]).tolist()
            bounds = [0, *(value * (2**24 - config.bins) // sums[-1] for value in sums)]
            frame.append([b - a + 1 for a, b in itertools.pairwise(bounds)])
            seen = [a + b for a, b in zip(seen, made["earlier"][k * config.bins + codes[k][t]], strict=True)]
        result.append(frame)
    return result
