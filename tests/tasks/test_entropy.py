import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from t2a.config import validate
from t2a.errors import CheckpointError, ConfigError
from t2a.models.codec import Codec, CodecConfig
from t2a.models.entropy import EntropyModel
from t2a.models.fixedpoint import INTEGER, IntegerModel
from t2a.nn.quantize import QuantizerConfig
from t2a.tasks.entropy import EntropyTask, EntropyTaskConfig, bits
from t2a.tokens.entropy import cost

MODEL = {"codebooks": 2, "bins": 16, "past": 4, "width": 32, "layers": 1, "heads": 2}


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("codec")
    quantizer = QuantizerConfig(codebooks=2, bins=16)
    Codec(CodecConfig(filters=2, ratios=(4, 2), dimension=4, lstm_layers=0, quantizer=quantizer)).save_pretrained(
        folder
    )
    return folder


def make(codec: Path, fewer: float = 0.0, **changes) -> EntropyTask:
    recipe = {"kind": "entropy", "codec": str(codec), "fewer": fewer, "model": MODEL | changes}
    return validate(EntropyTaskConfig, recipe, "recipe").build()


def a_batch(rows: int = 8, frames: int = 12, seed: int = 0) -> dict:
    """First codebook: a random walk by steps of 0 or 1; second: the first one's code in reverse."""
    steps = torch.randint(0, 2, (rows, frames), generator=torch.Generator().manual_seed(seed))
    first = steps.cumsum(1) % 16
    return {"codes": torch.stack([first, 15 - first], dim=1), "length": torch.full((rows,), frames)}


def one_loss(task: EntropyTask, nets: dict, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
    [(name, loss, logs)] = task.losses(nets, batch, 0)
    assert name == "entropy"
    return loss, logs


def test_it_learns_from_the_frames_before_and_from_the_codebooks_before(codec, tmp_path):
    torch.manual_seed(0)
    task = make(codec)
    nets = task.networks()
    optimizer = torch.optim.AdamW(nets["entropy"].parameters(), lr=5e-3)
    for step in range(150):
        loss, _ = one_loss(task, nets, a_batch(seed=step + 1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    batch = a_batch(32)
    values = task.evaluate({"entropy": nets["entropy"].eval()}, batch)
    assert set(values) == {"bits", "saving", "bits_1", "bits_2"}
    assert values["bits_1"].mean() < 1.4  # one bit, but for the first frame
    assert values["bits_2"].mean() < 0.2
    torch.testing.assert_close(values["bits"], (values["bits_1"] + values["bits_2"]) / 2)
    torch.testing.assert_close(values["saving"], 1 - values["bits"] / 4)
    task.export({"entropy": nets["entropy"].state_dict()}, tmp_path / "model")
    integer = IntegerModel.from_pretrained(tmp_path / "model" / INTEGER)
    spent = cost(integer.read(batch["codes"], integer.start(32, 12)), batch["codes"])
    torch.testing.assert_close(spent.mean((1, 2)).float(), values["bits"], atol=0.01, rtol=0.01)
    again = EntropyModel.from_pretrained(tmp_path / "model")
    assert torch.equal(again(batch["codes"]), nets["entropy"](batch["codes"]))


def test_an_untrained_model_pays_about_the_log_of_the_bins_and_logs_every_codebook(codec):
    torch.manual_seed(0)
    task = make(codec)
    loss, logs = one_loss(task, task.networks(), a_batch())
    assert loss.item() == pytest.approx(math.log(16), abs=0.2)
    assert set(logs) == {"loss/bits", "loss/bits_1", "loss/bits_2"}
    assert not any(value.requires_grad for value in logs.values())
    assert logs["loss/bits"].item() == pytest.approx(loss.item() / math.log(2))


def test_some_steps_see_fewer_codebooks_and_all_weights_still_take_part(codec):
    torch.manual_seed(0)
    task = make(codec, fewer=0.5)
    nets, seen = task.networks(), []
    for _ in range(40):
        loss, logs = one_loss(task, nets, a_batch())
        seen.append("loss/bits_2" in logs)
        assert ("loss/bits" in logs) == seen[-1]
    loss.backward()
    assert 10 < sum(seen) < 30
    assert all(parameter.grad is not None for parameter in nets["entropy"].parameters())


def test_frames_past_the_length_count_nothing():
    logits, codes = torch.randn(2, 5, 3, 7), torch.randint(0, 7, (2, 3, 5))
    found = bits(logits, codes, torch.tensor([2, 0]))
    expected = torch.nn.functional.cross_entropy(logits[0, :2, 1], codes[0, 1, :2]) / math.log(2)
    torch.testing.assert_close(found[0, 1], expected)
    assert (found[1] == 0).all()


def test_crops_shorter_than_the_model_looks_back_are_refused(codec):
    task = make(codec)
    with pytest.raises(ConfigError, match=r"3 frames, the model looks back on 4.*crop_frames"):
        one_loss(task, task.networks(), a_batch(frames=3))


@pytest.mark.parametrize(
    ("changes", "told"), [({"codebooks": 4}, "codebooks is 4.*has 2"), ({"bins": 8}, "bins is 8.*has 16")]
)
def test_a_codec_that_does_not_fit_is_refused_before_any_work(codec, changes, told):
    with pytest.raises(ConfigError, match=told):
        make(codec, **changes)


def test_a_codec_that_normalises_has_codes_like_any_other(codec, tmp_path):
    normalising = Codec(Codec.from_pretrained(codec).config.model_copy(update={"normalise": True}))
    normalising.save_pretrained(tmp_path / "codec")
    make(tmp_path / "codec")


def test_a_model_that_cannot_be_made_exact_is_told(codec, tmp_path):
    task = make(codec)
    weights = task.networks()["entropy"].state_dict()
    weights["mix.inward.weight"] *= 1e9
    with pytest.raises(CheckpointError, match=r"cannot be made exact: mix\.inward"):
        task.export({"entropy": weights}, tmp_path / "model")
