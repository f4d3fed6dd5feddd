"""Denoisers through the real loop: latents or sound in, a model folder out."""

from pathlib import Path
from typing import Any

import pytest
import torch

from t2a.errors import ConfigError, DataError
from t2a.generate.latents import precompute_latents
from t2a.models.denoiser import Denoiser
from t2a.train.checkpoint import newest_complete
from t2a.train.ranks import Ranks
from t2a.train.ready import check_ready
from t2a.train.run import Run
from t2a.train.worker import train
from tests.train.small import RATE, audio_corpus, denoiser_run, stream, untrained_autoencoder
from tests.train.toys import Recorder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, str]:
    """A corpus of sound with some clips that are none, an untrained autoencoder, and its latents."""
    folder = tmp_path_factory.mktemp("made")
    autoencoder = untrained_autoencoder(folder / "autoencoder")
    audio = audio_corpus(str(folder / "audio"), rows=24, broken=(3, 14))
    precompute_latents(audio, str(folder / "latents"), autoencoder, max_skipped=0.2)
    return {"audio": audio, "autoencoder": autoencoder, "latents": str(folder / "latents")}


def run_of(made: dict[str, str], out: Path, **changes: Any) -> Run:
    return denoiser_run(str(out), made["latents"], made["autoencoder"], **changes)


def sound(made: dict[str, str], **changes: Any) -> dict[str, Any]:
    data = {"kind": "audio", "uri": made["audio"], "sample_rate": RATE, "crop_seconds": 0.16, "window": 8}
    return data | {"max_skipped": 0.2} | changes


def go(run: Run) -> Recorder:
    reporter = Recorder()
    train(run, Ranks(), lambda: stream(run), reporter)
    return reporter


@pytest.mark.parametrize("kind", ["latents", "audio"])
def test_a_denoiser_is_trained_and_exported(made, tmp_path, kind):
    run = run_of(made, tmp_path, **({"data": sound(made)} if kind == "audio" else {}))
    check_ready(run)
    seen = go(run).seen
    assert {"loss/denoiser", "data/skipped"} <= seen[4].keys()
    assert seen[4]["eval/gap"] == pytest.approx(seen[4]["eval/loss_shuffled"] - seen[4]["eval/loss"], abs=1e-5)
    found = newest_complete(run.folder)
    assert found is not None
    Denoiser.from_pretrained(Path(found.uri) / "model")
    assert {path.name for path in (Path(found.uri) / "model").iterdir()} >= {"autoencoder", "encoders.yaml"}


def test_damaged_clips_are_counted_and_never_trained_on(made, tmp_path):
    """A peer makes a loud block of them and trains it with their captions."""
    run = run_of(made, tmp_path, data=sound(made), steps=6)
    seen = go(run).seen
    assert max(values.get("data/skipped", 0) for values in seen.values()) >= 1
    with pytest.raises(DataError, match="undecodable"):
        go(run_of(made, tmp_path / "strict", data=sound(made, max_skipped=0.0), steps=6))


def test_what_is_exported_is_the_average_of_the_weights(made, tmp_path):
    """Peers export the last weights, whatever step they took."""
    exported = []
    for ema in (0.0, 0.9):
        run = run_of(made, tmp_path / str(ema), engine={"kind": "plain", "ema": ema})
        go(run)
        found = newest_complete(run.folder)
        assert found is not None
        exported.append(Denoiser.from_pretrained(Path(found.uri) / "model").state_dict())
    last, average = exported
    assert not torch.equal(last["network.inward.weight"], average["network.inward.weight"])


@pytest.mark.parametrize("batch_size", [2, 4])
def test_the_learning_rate_is_the_recipe_s_whatever_the_number_of_rows_or_workers(made, tmp_path, batch_size):
    """A peer multiplies it by the number of GPUs and of rows, silently."""
    seen = go(run_of(made, tmp_path, batch_size=batch_size, eval=None, steps=2, checkpoint={"every": 2})).seen
    assert {values["lr/denoiser"] for values in seen.values() if "lr/denoiser" in values} == {1e-2}
    runs = [run_of(made, tmp_path, workers=workers, engine={"zero": 2}) for workers in (1, 2, 4)]
    assert {run.optim["denoiser"].lr for run in runs} == {1e-2}


def test_sound_that_the_autoencoder_cannot_encode_is_told_before_anything_is_started(made, tmp_path):
    for wrong, told in (({"sample_rate": 16000}, "sample_rate is 16000, .* takes 8000"), ({"channels": 2}, "is 2")):
        with pytest.raises(ConfigError, match=told):
            check_ready(run_of(made, tmp_path, data=sound(made, **wrong)))


def test_latents_of_another_autoencoder_are_told_before_anything_is_started(made, tmp_path):
    torch.manual_seed(5)
    other = untrained_autoencoder(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"made by other weights than those of task\.autoencoder.*prepare them anew"):
        check_ready(denoiser_run(str(tmp_path), made["latents"], other))
