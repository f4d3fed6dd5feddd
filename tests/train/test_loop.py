"""The loop over plain engines in one process."""

import pytest
import torch

from t2a.data.batch import batches
from t2a.data.position import Position
from t2a.errors import DataError, InterruptionError
from t2a.nn.condition import Condition, StoredCondition
from t2a.train.ema import Ema
from t2a.train.loop import Loop, NonFiniteError, split
from t2a.train.optim import Cosine, OptimConfig
from t2a.train.plain import PlainEngine
from t2a.train.protocol import EngineConfig
from t2a.train.ranks import Ranks
from t2a.train.run import CheckpointConfig, EvalConfig
from tests.train.toys import Recorder, ToyConfig, batch, blocks, toy_run


class Keeper:
    """Keeps nothing, but knows when it was asked to."""

    def __init__(self) -> None:
        self.uploaded, self.failure, self.last = 0, None, None
        self.saved: list[tuple[int, list]] = []

    def save(self, step, metrics, rows) -> None:
        self.saved.append((step, rows))
        self.last = f"somewhere/step_{step:08d}"

    def complete(self, uploaded: int) -> None:
        pass

    def finish(self) -> None:
        pass


def loop(tmp_path, held_out=(), last=None, asked=lambda: False, **changes) -> Loop:
    run = toy_run(tmp_path, **changes)
    task = run.task.build()
    torch.manual_seed(0)
    ranks = Ranks()
    engines = {n: PlainEngine(net, run.optim[n], run.engine, ranks.device) for n, net in task.networks().items()}
    emas = {name: Ema(engine, run.engine.ema) for name, engine in engines.items()}
    source = batches(blocks(0, 1, last=last), run.data, run.batch_size, Position())
    return Loop(run, task, engines, emas, source, list(held_out), ranks, Recorder(), Keeper(), asked=asked)


def weights(made: Loop) -> torch.Tensor:
    return torch.cat([t.flatten() for engine in made.engines.values() for t in engine.masters()])


def held() -> list[dict]:
    return [batch(100) | {"weight": torch.tensor([1.0] * 6 + [0.0] * 2)}, batch(101) | {"weight": torch.ones(8)}]


def test_logs_means_of_losses_norms_rates_and_times(tmp_path) -> None:
    optim = {name: OptimConfig(lr=0.01, schedule=Cosine(warmup=2)) for name in ("codec", "critic")}
    made = loop(tmp_path, optim=optim)
    made.train(0)
    seen = made.reporter.seen
    assert list(seen) == [2, 4, 6]
    wanted = {"loss/distance", "loss/critic", "grad/codec", "grad/critic", "lr/codec", "lr/critic", "data/wait"}
    assert wanted | {"data/skipped", "time/step", "rows"} <= set(seen[2])
    assert seen[2]["lr/codec"] == pytest.approx((0.005 + 0.01) / 2)
    assert seen[4]["rows"] == 32
    assert 0 <= seen[4]["data/wait"] <= 1
    assert seen[6]["loss/distance"] < seen[2]["loss/distance"]


@pytest.mark.parametrize("ranks", [1, 8])
def test_the_learning_rate_is_the_recipe_s_whatever_the_number_of_ranks(tmp_path, ranks) -> None:
    made = loop(tmp_path)
    made.ranks.size = ranks
    made.train(0)
    assert {values["lr/codec"] for values in made.reporter.seen.values()} == {0.01}


def test_saves_and_evaluates_when_due_and_at_the_end(tmp_path) -> None:
    made = loop(tmp_path, held_out=held(), eval=EvalConfig(every=4), steps=5, log_rows=True)
    made.train(0)
    keeper, reporter = made.keeper, made.reporter
    assert [step for step, _ in keeper.saved] == [2, 4, 5]
    assert [step for step, _ in keeper.saved[1][1]] == [2, 3]
    assert keeper.saved[1][1][0] == (2, batch(2)["ids"])
    assert [step for step, values in reporter.seen.items() if "eval/distance" in values] == [4, 5]
    assert reporter.heard == [(step, "first", (1, 7), 16000) for step in (4, 5)]


def test_evaluation_weighs_rows_and_leaves_training_as_it_was(tmp_path) -> None:
    noisy = ToyConfig(noise=0.3)
    without = loop(tmp_path, task=noisy)
    without.train(0)
    made = loop(tmp_path, task=noisy, held_out=held(), eval=EvalConfig(every=1))
    made.train(0)
    assert torch.equal(weights(made), weights(without))
    seen = made.reporter.seen
    assert seen[1]["eval/training"] == 0
    made.task.noise, expected = 0.0, 0.0
    for each in held():
        expected += (made.task.evaluate(made.engines, each)["distance"] * each["weight"]).sum().item() / 14
    made.run = made.run.model_copy(update={"task": ToyConfig()})
    made._evaluate(7)
    assert seen[7]["eval/distance"] == pytest.approx(expected)
    made.task.noise = 0.3
    made._evaluate(8)
    made._evaluate(9)
    assert seen[8]["eval/distance"] == seen[9]["eval/distance"] != seen[7]["eval/distance"]


def test_accumulated_quarters_equal_the_whole_batch(tmp_path) -> None:
    alone = ToyConfig(alone=True)
    whole = loop(tmp_path, task=alone)
    whole.train(0)
    quarters = loop(tmp_path, task=alone, engine=EngineConfig(kind="plain", accumulate=4))
    quarters.train(0)
    assert (weights(whole) - weights(quarters)).abs().max() < 1e-6
    assert whole.reporter.seen[6]["grad/codec"] == pytest.approx(quarters.reporter.seen[6]["grad/codec"], rel=1e-4)


def test_split_keeps_rows_together() -> None:
    parts = list(split(batch(0), 4))
    assert [part["ids"] for part in parts] == [[f"0-{i}" for i in range(first, first + 2)] for first in (0, 2, 4, 6)]
    assert torch.equal(torch.cat([part["codes"] for part in parts]), batch(0)["codes"])


def test_split_cuts_stored_conditions_too() -> None:
    condition = Condition(torch.arange(12.0).view(4, 3, 1), torch.ones(4, 3, dtype=torch.bool))
    made = {"ids": list("abcd"), "states": {"text": StoredCondition(condition, "an encoder")}}
    first, second = split(made, 2)
    assert (first["ids"], second["ids"]) == (["a", "b"], ["c", "d"])
    assert second["states"]["text"].fingerprint == "an encoder"
    assert torch.equal(second["states"]["text"].condition.tokens, condition.tokens[2:])
    assert first["states"]["text"].condition.mask.shape == (2, 3)


def test_a_loss_that_is_no_number_stops_before_the_next_checkpoint_and_names_rows(tmp_path) -> None:
    made = loop(tmp_path, task=ToyConfig(poison=("3-5",)), engine=EngineConfig(kind="plain", accumulate=2))
    with pytest.raises(
        NonFiniteError, match=r"Step 4 .*rank 0: 3-4, 3-5, 3-6, 3-7\); the last good checkpoint is some"
    ):
        made.train(0)
    assert [step for step, _ in made.keeper.saved] == [2]


def test_a_stream_that_ends_early_and_a_failed_upload_are_raised(tmp_path) -> None:
    with pytest.raises(DataError, match="ended before step 4 of 6"):
        loop(tmp_path, last=3).train(0)
    made = loop(tmp_path)
    made.keeper.failure = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        made.train(0)


def test_asked_to_end_it_saves_after_the_step_and_says_where_to_go_on(tmp_path) -> None:
    made = loop(tmp_path, asked=lambda: made.source.position.cursor >= 3, checkpoint=CheckpointConfig(every=5))
    with pytest.raises(InterruptionError, match=r"after step 3 of 6; .* goes on from somewhere/step_00000003") as told:
        made.train(0)
    assert [step for step, _ in made.keeper.saved] == [3]
    assert made.source.position.cursor == 3
    assert told.value.exit_code not in (0, 1, 2)


def test_asked_to_end_in_its_last_step_it_is_finished(tmp_path) -> None:
    made = loop(tmp_path, asked=lambda: made.source.position.cursor >= 6)
    made.train(0)
    assert [step for step, _ in made.keeper.saved] == [2, 4, 6]
