import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from t2a import storage
from t2a.config import Config
from t2a.errors import CheckpointError
from t2a.models.pretrained import Pretrained, locate, read_config


class ToyConfig(Config):
    width: int = 4
    rate: float = 0.5


class Toy(Pretrained):
    model_type: ClassVar[str] = "toy"
    config_class = ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.a = nn.Linear(config.width, 3)
        self.tied = nn.Linear(config.width, 3, bias=False)
        self.tied.weight = self.a.weight
        self.norm = nn.BatchNorm1d(3)


class Other(Toy):
    model_type: ClassVar[str] = "other"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    Toy(ToyConfig(width=5, rate=0.1)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change(folder: Path, **tensors: Any) -> None:
    held = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor is None:
            held.pop(name.replace("__", "."))
        else:
            held[name.replace("__", ".")] = tensor
    save_file(held, folder / "model.safetensors")


def test_a_model_comes_back_equal_and_in_eval_mode(folder: Path) -> None:
    torch.manual_seed(0)
    want = Toy(ToyConfig(width=5, rate=0.1))
    state = torch.get_rng_state()
    model = Toy.from_pretrained(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.config == want.config
    assert not model.training
    assert model.tied.weight is model.a.weight
    for name, tensor in want.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=0)


def test_weights_are_stored_as_float32_and_counts_as_they_are(tmp_path: Path) -> None:
    Toy(ToyConfig()).to(torch.bfloat16).save_pretrained(tmp_path / "m")
    dtypes = {name: t.dtype for name, t in load_file(tmp_path / "m" / "model.safetensors").items()}
    assert dtypes.pop("norm.num_batches_tracked") == torch.int64
    assert set(dtypes.values()) == {torch.float32}


def test_config_names_the_type_and_the_version(folder: Path) -> None:
    config = read_config(folder)
    assert config["model_type"] == "toy"
    assert config["t2a_version"]
    assert config["width"] == 5


def test_saving_again_keeps_what_else_lies_there_and_leaves_no_rest(folder: Path) -> None:
    (folder / "codec").mkdir()
    Toy(ToyConfig(width=7)).save_pretrained(folder)
    assert Toy.from_pretrained(folder).config.width == 7
    assert sorted(p.name for p in folder.iterdir()) == ["codec", "config.json", "model.safetensors"]
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(CheckpointError, match=r"Cannot save the model to .*: No space"):
        Toy(ToyConfig(width=7)).save_pretrained(folder)
    assert Toy.from_pretrained(folder).config.width == 5
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_tensors_must_fit_exactly(folder: Path) -> None:
    change(folder, a__weight=torch.zeros(3, 6), a__bias=None, norm__bias=None, alien=torch.zeros(1))
    with pytest.raises(CheckpointError) as caught:
        Toy.from_pretrained(folder)
    text = str(caught.value)
    assert "2 missing (a.bias, norm.bias)" in text
    assert "1 unexpected (alien)" in text
    assert "1 of another shape (a.weight [3, 6] instead of [3, 5])" in text


def test_many_misfits_are_named_in_part(folder: Path) -> None:
    change(folder, **{f"x{i}": torch.zeros(1) for i in range(9)})
    with pytest.raises(CheckpointError, match=r"9 unexpected \(x0, x1, x2, \.\.\.\)"):
        Toy.from_pretrained(folder)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "config.json").write_text("{"), "Cannot read .*config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "holds a list"),
        (lambda f: (f / "config.json").write_text('{"model_type": "toy", "widdth": 3}'), r"did you mean width\?"),
        (lambda f: (f / "config.json").unlink(), "no config.json there; found: model.safetensors"),
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors there; found: config.json"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x40" + b"\0" * 9), "cut short"),
        (lambda f: (f / "model.safetensors").rename(f / "weights.pt"), "weights.pt, a pickle"),
    ],
)
def test_a_spoilt_folder_gets_a_sentence(folder: Path, spoil: Any, sentence: str) -> None:
    spoil(folder)
    with pytest.raises(CheckpointError, match=sentence):
        Toy.from_pretrained(folder)


def test_another_type_of_model_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a model of type 'toy', not 'other'"):
        Other.from_pretrained(folder)


def run_folder(root: str, steps: dict[int, bool]) -> None:
    """A run on local disk or S3: step -> complete?; the width of each model is its step."""
    for step, complete in steps.items():
        uri = storage.join(root, f"step_{step:08d}")
        config = {"model_type": "toy", "t2a_version": "0", "width": step}
        storage.write_bytes(storage.join(uri, "model", "config.json"), json.dumps(config).encode())
        storage.write_bytes(storage.join(uri, "model", "model.safetensors"), b"weights")
        storage.write_bytes(storage.join(uri, "state", "lm", "x"), b"state")
        if complete:
            storage.write_bytes(storage.join(uri, "trainer.json"), b"{}")


def test_a_run_means_its_newest_complete_step(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T2A_CACHE", str(tmp_path / "cache"))
    run_folder(place, {5: True, 90: True, 100000001: True, 100000002: False})
    assert read_config(locate(place))["width"] == 100000001
    assert read_config(locate(storage.join(place, "step_00000090")))["width"] == 90
    assert read_config(locate(storage.join(place, "step_00000005", "model")))["width"] == 5


def test_a_run_without_a_complete_step_is_refused(place: str) -> None:
    run_folder(place, {5: False})
    with pytest.raises(CheckpointError, match=r"no complete checkpoint yet \(step_00000005\)"):
        locate(place)


def test_what_is_neither_model_nor_run_is_named(place: str) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        locate(place)
    storage.write_bytes(storage.join(place, "notes.txt"), b"x")
    storage.write_bytes(storage.join(place, "sub", "y"), b"x")
    with pytest.raises(CheckpointError, match=r"is no model, checkpoint or run: .*found: sub/, notes.txt"):
        locate(place)


def test_downloads_are_kept_until_the_content_changes(
    folder: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2A_CACHE", str(tmp_path / "cache"))
    storage.upload(folder, bucket)
    first = locate(bucket)
    assert Toy.from_pretrained(bucket).config.width == 5
    monkeypatch.setattr(storage, "download", lambda *_: pytest.fail("downloaded twice"))
    assert locate(bucket) == first
    monkeypatch.undo()
    monkeypatch.setenv("T2A_CACHE", str(tmp_path / "cache"))
    change(folder, a__bias=torch.full((3,), 7.0))  # as many bytes as before
    storage.upload(folder, bucket)
    assert Toy.from_pretrained(bucket).a.bias.tolist() == [7.0] * 3
    assert sorted(p.name[0] == "." for p in (tmp_path / "cache" / "models").iterdir()) == [False, False]


def test_a_registered_name_leads_to_the_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2a.registry.resolve", lambda uri: {"models:/toy@champion": str(folder)}[uri])
    assert Toy.from_pretrained("models:/toy@champion").config.width == 5
