import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from t2a.config import validate
from t2a.errors import CheckpointError, ConfigError
from t2a.models.clap import Clap
from t2a.models.lm import LM
from t2a.models.ssast import Ssast, SsastConfig
from t2a.nn.condition import Condition
from t2a.nn.lora import merged
from t2a.train.checkpoint import newest_complete
from t2a.train.ranks import Ranks
from t2a.train.ready import check_ready
from t2a.train.run import Run
from t2a.train.start import networks
from t2a.train.worker import train
from tests.train.small import audio_corpus, codes_corpus, lm_run, stream, untrained_codec, untrained_lm
from tests.train.toys import Recorder

TOWER = {
    "kind": "transformer", "mel": {"rate": 8000, "n_fft": 128, "hop": 32, "n_mels": 8, "log": "ln"}, "patch": [4, 4],
    "width": 16, "layers": 1, "heads": 1,
}  # fmt: skip
LORA = {"rank": 2, "targets": ["self_attention.inward", "contract"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, str]:
    """Corpora, an untrained codec and an untrained language model."""
    folder = tmp_path_factory.mktemp("made")
    codec = untrained_codec(folder / "codec")
    torch.manual_seed(7)
    return {
        "codec": codec,
        "lm": untrained_lm(folder / "lm", codec),
        "codes": codes_corpus(str(folder / "codes"), group=8),  # one to a batch: a resumed run has the same
        "audio": audio_corpus(str(folder / "audio"), rows=24),
    }


def run_of(made: dict[str, str], out: Path, **changes: Any) -> Run:
    """One process; by default it begins with the language model."""
    settings = {"init": made["lm"], "workers": 1, "engine": {"kind": "plain", "ema": 0.8}, "steps": 4}
    return lm_run(str(out), made["codes"], made["codec"], {"kind": "minilm"}, **(settings | changes))


def go(run: Run) -> Recorder:
    reporter = Recorder()
    train(run, Ranks(), lambda: stream(run), reporter)
    return reporter


def exported(run: Run) -> dict[str, torch.Tensor]:
    found = newest_complete(run.folder)
    assert found is not None
    assert found.step == run.steps
    return LM.from_pretrained(Path(found.uri) / "model").state_dict()


def test_a_run_begins_with_the_weights_of_the_model(made, tmp_path):
    run = run_of(made, tmp_path)
    base = LM.from_pretrained(made["lm"]).state_dict()
    begun, fresh = (networks(run, run.task.build(), resumed)["lm"].state_dict() for resumed in (False, True))
    assert all(torch.equal(begun[name], base[name]) for name in base)
    assert not torch.equal(fresh["heads.weight"], base["heads.weight"])


def test_a_model_of_another_shape_is_refused_with_the_names_of_what_does_not_fit(made, tmp_path):
    run = run_of(made, tmp_path)
    model = run.task.model.model_copy(update={"width": 16, "layers": 1})
    run = run.model_copy(update={"task": run.task.model_copy(update={"model": model})})
    told = r"do not fit task\.model: \d+ unexpected \(decoder\.blocks\.1\..*of another shape \(.* instead of "
    with pytest.raises(CheckpointError, match=told):
        networks(run, run.task.build(), resumed=False)
    with pytest.raises(CheckpointError, match=told):
        check_ready(run)


def test_a_model_of_another_type_is_refused_before_any_work(made, tmp_path):
    with pytest.raises(ConfigError, match=r"init: .*codec holds a model of type 'codec', the task trains a 'lm'"):
        check_ready(run_of(made, tmp_path, init=made["codec"]))
    with pytest.raises(CheckpointError, match="nowhere"):
        check_ready(run_of(made, tmp_path, init=str(tmp_path / "nowhere")))


def test_settings_that_no_shape_tells_are_logged_where_they_differ(made, tmp_path, caplog):
    check_ready(run_of(made, tmp_path))
    assert not caplog.text
    run = run_of(made, tmp_path)
    model = run.task.model.model_copy(update={"heads": 4, "pattern": "parallel"})
    check_ready(run.model_copy(update={"task": run.task.model_copy(update={"model": model})}))
    assert "pattern delay there, parallel here; heads 2 there, 4 here" in caplog.text


def test_adapters_need_a_model_and_targets_that_it_has(made, tmp_path):
    with pytest.raises(ConfigError, match="name it as init, or leave lora out"):
        run_of(made, tmp_path, init=None, lora={})
    with pytest.raises(ConfigError, match=r"take engine\.precision=autocast"):
        run_of(made, tmp_path, lora={}, engine={"precision": "bf16"})
    with pytest.raises(ConfigError, match=r"no linear layer 'outwards' \(there are: "):
        check_ready(run_of(made, tmp_path, lora={"targets": ["outwards"]}))
    check_ready(run_of(made, tmp_path, lora={}))


@torch.no_grad()
def test_the_merged_language_model_says_what_the_adapted_one_says(made, tmp_path):
    run = run_of(made, tmp_path, lora={"targets": ["inward", "outward", "query", "key_value", "expand", "contract"]})
    adapted = networks(run, run.task.build(), resumed=False)["lm"].eval()
    for name, parameter in adapted.named_parameters():
        if name.endswith("lora_up"):
            torch.nn.init.normal_(parameter, std=0.1)
    plain, codes = LM(run.task.model).eval(), torch.randint(0, 17, (3, 2, 9))
    plain.load_state_dict(merged(adapted.state_dict()))
    told = {"text": Condition(torch.randn(3, 4, 384), torch.arange(4) < torch.tensor([[4], [2], [0]]))}
    assert (plain(codes, told) - adapted(codes, told)).abs().max() < 1e-5
    base = LM.from_pretrained(made["lm"])
    assert (plain(codes, told) - base(codes, told)).abs().max() > 0.1


def test_adapters_are_trained_resumed_without_the_first_model_and_merged_into_a_plain_one(made, tmp_path):
    shutil.copytree(made["lm"], tmp_path / "base")
    changes = {"lora": LORA, "init": str(tmp_path / "base"), "log_every": 1, "checkpoint": {"every": 2}}
    whole, broken = (run_of(made, tmp_path / name, **changes) for name in ("whole", "broken"))
    seen = go(whole).seen
    go(broken.model_copy(update={"steps": 2}))
    base = LM.from_pretrained(tmp_path / "base").state_dict()
    shutil.rmtree(tmp_path / "base")
    check_ready(broken)
    go(broken)
    ended, resumed = exported(whole), exported(broken)
    assert ended.keys() == resumed.keys() == base.keys()
    assert all(torch.equal(ended[name], resumed[name]) for name in base)
    changed = {name for name in base if not torch.equal(ended[name], base[name])}
    assert changed == {name for name in base if name.endswith(("self_attention.inward.weight", "contract.weight"))}
    trained = 2 * (2 * (32 + 96) + 2 * (128 + 32))
    total = sum(tensor.numel() for tensor in base.values())
    assert seen[0]["parameters/lm_trained"] == trained
    assert seen[0]["parameters/lm"] == total + trained
    assert seen[4]["eval/gap"] == pytest.approx(seen[4]["eval/ce_shuffled"] - seen[4]["eval/ce"], abs=1e-5)


def test_a_language_model_is_trained_on_sound_that_is_mixed(made, tmp_path):
    data = {"kind": "audio", "uri": made["audio"], "sample_rate": 8000, "crop_seconds": 0.064, "window": 8, "mix": {}}
    run = run_of(made, tmp_path, data=data, steps=2, optim={"lm": {"lr": 1e-2}})
    check_ready(run)
    seen = go(run).seen
    assert {"loss/ce_1", "loss/perplexity_2", "data/skipped"} <= seen[2].keys()
    assert {"eval/ce", "eval/gap"} <= seen[2].keys()
    base, ended = LM.from_pretrained(made["lm"]).state_dict(), exported(run)
    assert not torch.equal(base["heads.weight"], ended["heads.weight"])


def clap_run(made: dict[str, str], out: Path, **changes: Any) -> Run:
    """A run of a clap whose tower is a spectrogram transformer of eight bands."""
    settings = {
        "name": "clap", "out": str(out), "steps": 2, "batch_size": 4, "log_every": 1,
        "task": {"kind": "clap", "model": {"tower": TOWER, "dimension": 8}},
        "data": {"kind": "audio", "uri": made["audio"], "sample_rate": 8000, "crop_seconds": 0.1, "window": 8},
        "optim": {"clap": {"lr": 1e-3}}, "engine": {"kind": "plain"}, "checkpoint": {"every": 2},
        "eval": {"every": 2, "rows": 4}, "track": {"enabled": False},
    }  # fmt: skip
    return validate(Run, settings | changes, "test")


def pretrained(folder: Path, **changes: Any) -> str:
    Ssast(validate(SsastConfig, {"tower": TOWER | changes}, "test")).save_pretrained(folder)
    return str(folder)


def test_a_clap_begins_with_the_tower_of_an_ssast_and_trains(made, tmp_path):
    ssast = pretrained(tmp_path / "ssast")
    run = clap_run(made, tmp_path, init=ssast)
    check_ready(run)
    base, begun = Ssast.from_pretrained(ssast).tower.state_dict(), networks(run, run.task.build(), False)["clap"]
    assert all(torch.equal(begun.tower.state_dict()[name], base[name]) for name in base)
    seen = go(run).seen
    assert {"loss/contrastive", "eval/r@1"} <= seen[2].keys()
    found = newest_complete(run.folder)
    assert not torch.equal(Clap.from_pretrained(found.uri).tower.embed.weight, base["embed.weight"])


def test_a_part_that_does_not_fit_is_told_before_any_work(made, tmp_path, caplog):
    with pytest.raises(CheckpointError, match=r"do not fit task\.model\.tower: .*of another shape"):
        check_ready(clap_run(made, tmp_path, init=pretrained(tmp_path / "wide", width=32)))
    with pytest.raises(
        ConfigError, match=r"type 'lm', the task trains a 'clap', which begins with one of: clap, ssast"
    ):
        check_ready(clap_run(made, tmp_path, init=made["lm"]))
    ssast = pretrained(tmp_path / "ssast", heads=2, mean=-3.0)
    with pytest.raises(ConfigError, match="is but the tower of a clap, and lora adapts a whole model"):
        check_ready(clap_run(made, tmp_path, init=ssast, lora={}))
    assert not caplog.text
    check_ready(clap_run(made, tmp_path, init=ssast))
    assert "mean -3.0 there, -4.8 here; heads 2 there, 1 here" in caplog.text
