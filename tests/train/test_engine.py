"""DeepSpeed's engines against one plain process: same losses, same weights, same average of the weights."""

import pytest
import torch
from torch import distributed

from t2a.train.ema import Ema
from t2a.train.optim import OptimConfig
from t2a.train.plain import PlainEngine
from t2a.train.protocol import EngineConfig
from tests.train.pair import on_ranks
from tests.train.toys import Toy, batch, part

# The hinge gradients of the critic's bias cancel to rounding noise, which AdamW would blow up with a smaller eps.
OPTIM = OptimConfig(lr=0.01, weight_decay=0.1, eps=1e-4)
CPU = torch.device("cpu")
PLAIN = EngineConfig(kind="plain", clip=None, ema=0.8)
CASES = {
    **{f"frozen-{zero}": (Toy(), {"zero": zero}) for zero in range(4)},
    **{f"yielded-{zero}": (Toy(critic="yielded"), {"zero": zero}) for zero in range(4)},
    **{f"live-{zero}": (Toy(critic="live"), {"zero": zero}) for zero in range(4)},
    **{f"clipped-{zero}": (Toy(), {"zero": zero, "clip": 0.1}) for zero in range(4)},
    **{f"accumulated-{zero}": (Toy(alone=True), {"zero": zero, "clip": 0.1, "accumulate": 2}) for zero in range(4)},
    **{f"adapted-{zero}": (Toy(alone=True, adapted=True), {"zero": zero, "clip": 0.1}) for zero in range(4)},
    **{f"bf16-{zero}": (Toy(), {"zero": zero, "precision": "bf16"}) for zero in (1, 2, 3)},
    **{f"autocast-{zero}": (Toy(), {"zero": zero, "precision": "autocast"}) for zero in (0, 2)},
}
FIT = [case for case in CASES if not case.startswith(("live", "yielded"))]


def follow(task, engines, config, share, steps=10):
    """Train; return the losses of each step, the final weights, their average, and the average computed beside it."""
    emas = {name: Ema(engine, config.ema) for name, engine in engines.items()}
    beside = {name: engine.full() for name, engine in engines.items()}
    losses = []
    for step in range(steps):
        for micro in share(step):
            for name, loss, _ in task.losses(engines, micro, step):
                engines[name].backward(loss)
                losses.append(loss.item())
                if engines[name].step(0.01):
                    emas[name].update(step)
                    decay = min(config.ema, (1 + step) / (10 + step))
                    for key, value in engines[name].full().items():
                        beside[name][key] = decay * beside[name][key] + (1 - decay) * value
    return {
        "losses": losses,
        "norms": {name: engine.grad_norm for name, engine in engines.items()},
        "weights": {name: engine.full() for name, engine in engines.items()},
        "average": {name: ema.export() for name, ema in emas.items()},
        "beside": beside,
    }


def one_rank(task, config):
    torch.manual_seed(0)
    engines = {name: PlainEngine(net, OPTIM, config, CPU) for name, net in task.networks().items()}
    return follow(task, engines, config, lambda step: [batch(step)])


def two_ranks():
    from t2a.train.engine import ZeroEngine

    rank = distributed.get_rank()
    results = {}
    for case, (task, settings) in CASES.items():
        config = EngineConfig(**{"clip": None, "ema": 0.8} | settings)
        torch.manual_seed(0)
        engines = {name: ZeroEngine(net, OPTIM, config, CPU, 2) for name, net in task.networks().items()}

        def share(step, count=config.accumulate):
            mine = part(batch(step), rank, 2)
            return [part(mine, index, count) for index in range(count)]

        try:
            results[case] = follow(task, engines, config, share)
            restored = {name: Ema(engine, config.ema) for name, engine in engines.items()}
            for name, ema in restored.items():
                ema.restore(results[case]["average"][name])
            results[case]["restored"] = {name: ema.export() for name, ema in restored.items()}
            results[case]["after"] = {name: engine.full() for name, engine in engines.items()}
        except Exception as error:
            results[case] = repr(error)
    return results


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    first, second = on_ranks(2, two_ranks, tmp_path_factory.mktemp("engine"))
    for case, result in first.items():
        if not isinstance(result, str) and not isinstance(second[case], str):
            # The generator's live critic is the one thing that may leave the ranks apart.
            result["mean"] = [(a + b) / 2 for a, b in zip(result["losses"], second[case]["losses"], strict=True)]
    return first


def distance(a: dict, b: dict) -> float:
    return max((a[name][key] - b[name][key]).abs().max().item() for name in a for key in a[name] if key != "seen")


def trained(case: str, found: dict) -> dict:
    assert not isinstance(found[case], str), found[case]
    return found[case]


@pytest.mark.parametrize("zero", range(4))
def test_two_ranks_with_a_frozen_critic_equal_one_process(zero: int, found: dict) -> None:
    ours, reference = trained(f"frozen-{zero}", found), one_rank(Toy(), PLAIN)
    assert ours["mean"] == pytest.approx(reference["losses"], abs=1e-6)
    assert distance(ours["weights"], reference["weights"]) < 1e-6
    assert distance(ours["average"], reference["average"]) < 1e-6
    assert ours["norms"] == pytest.approx(reference["norms"], rel=1e-4)


@pytest.mark.parametrize("zero", range(4))
def test_what_frozen_yields_equals_one_process(zero: int, found: dict) -> None:
    assert distance(trained(f"yielded-{zero}", found)["weights"], one_rank(Toy(), PLAIN)["weights"]) < 1e-6


def test_a_live_critic_fails_or_trains_wrong_weights(found: dict) -> None:
    reference = one_rank(Toy(), PLAIN)
    for zero in range(4):
        result = found[f"live-{zero}"]
        assert isinstance(result, str) or distance(result["weights"], reference["weights"]) > 1e-4, zero
    assert not isinstance(found["live-1"], str), "zero 1 used to go wrong in silence: say so where it is documented"


@pytest.mark.parametrize("zero", range(4))
def test_clipping_equals_one_process(zero: int, found: dict) -> None:
    reference = one_rank(Toy(), PLAIN.model_copy(update={"clip": 0.1}))
    assert distance(trained(f"clipped-{zero}", found)["weights"], reference["weights"]) < 1e-5
    assert distance(reference["weights"], one_rank(Toy(), PLAIN)["weights"]) > 1e-4


@pytest.mark.parametrize("zero", range(4))
def test_two_accumulated_halves_equal_the_whole_batch(zero: int, found: dict) -> None:
    reference = one_rank(Toy(alone=True), PLAIN.model_copy(update={"clip": 0.1}))
    assert distance(trained(f"accumulated-{zero}", found)["weights"], reference["weights"]) < 1e-5


@pytest.mark.parametrize("zero", range(4))
def test_low_rank_changes_are_trained_as_in_one_process_and_nothing_else_is(zero: int, found: dict) -> None:
    task = Toy(alone=True, adapted=True)
    reference = one_rank(task, PLAIN.model_copy(update={"clip": 0.1}))
    ours = trained(f"adapted-{zero}", found)
    assert distance(ours["weights"], reference["weights"]) < 1e-5
    torch.manual_seed(0)
    start = task.networks()["codec"].state_dict()
    moved = {name for name, value in start.items() if not torch.equal(ours["weights"]["codec"][name], value)}
    assert moved - {"seen"} == {f"{layer}.lora_{part}" for layer in ("down", "up") for part in ("down", "up")}


@pytest.mark.parametrize("case", FIT)
def test_average_equals_the_one_computed_from_full_weights(case: str, found: dict) -> None:
    result = trained(case, found)
    assert distance(result["average"], result["beside"]) < 1e-6
    assert distance(result["average"], result["weights"]) > 1e-4
    assert all(t.dtype == torch.float32 for weights in result["average"].values() for t in weights.values())


@pytest.mark.parametrize("case", FIT)
def test_average_is_restored_from_full_tensors_and_weights_stay(case: str, found: dict) -> None:
    result = trained(case, found)
    assert distance(result["restored"], result["average"]) == 0
    assert distance(result["after"], result["weights"]) == 0


def test_reduced_precision_stays_near_float32(found: dict) -> None:
    reference = one_rank(Toy(), PLAIN)
    for case in ("bf16-1", "bf16-2", "bf16-3", "autocast-0", "autocast-2"):
        assert 0 < distance(trained(case, found)["weights"], reference["weights"]) < 0.03, case


def test_bf16_without_masters_is_refused() -> None:
    with pytest.raises(ValueError, match="use autocast instead"):
        EngineConfig(precision="bf16", zero=0)
