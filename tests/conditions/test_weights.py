import shutil
from pathlib import Path

import pytest

from t2a.conditions import weights
from t2a.errors import ConfigError
from tests.conditions import peers


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return peers.t5(tmp_path_factory.mktemp("t5"))


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def test_a_network_comes_frozen_for_inference_in_float32(folder, tmp_path):
    import transformers

    network = transformers.T5EncoderModel.from_pretrained(folder)
    network.half().save_pretrained(copy(folder, tmp_path / "half"))
    tokenizer, found = weights.load(str(tmp_path / "half"), "AutoTokenizer", "T5EncoderModel")
    assert tokenizer(["a dog"])["input_ids"] == [[4, 5]]
    assert not found.training
    assert {(str(p.dtype), p.requires_grad) for p in found.parameters()} == {("torch.float32", False)}


def test_loading_leaves_the_bars_of_transformers_as_they_were(folder):
    from transformers.utils import logging

    for shown in (True, False):
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
        weights.load(str(folder), "AutoTokenizer", "T5EncoderModel")
        assert logging.is_progress_bar_enabled() is shown
    logging.enable_progress_bar()


def test_a_digest_is_that_of_all_that_is_loaded_wherever_it_lies(folder, tmp_path):
    first = weights.digest(str(folder))
    assert weights.digest(str(copy(folder, tmp_path / "same"))) == first
    (copy(folder, tmp_path / "more") / "README.md").write_text("of no matter")
    assert weights.digest(str(tmp_path / "more")) == first
    (copy(folder, tmp_path / "other") / "config.json").write_text("{}")
    renamed = copy(folder, tmp_path / "renamed")
    (renamed / "config.json").rename(renamed / "old.json")
    assert len({first, weights.digest(str(tmp_path / "other")), weights.digest(str(renamed))}) == 3


def test_a_folder_is_taken_as_it_is_and_a_name_from_the_hub_once(folder, monkeypatch, tmp_path):
    asked = []

    def download(name, **options):
        asked.append(options.get("local_files_only", False))
        if asked == [True]:
            raise OSError("not in the cache")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda self, name, timeout: None)
    assert weights.find(str(tmp_path)) == str(tmp_path)
    assert not asked
    assert weights.find("some/t5") == weights.find("some/t5") == str(folder)
    assert asked == [True, False, True]  # sought at home, fetched, then found at home


def test_a_hub_that_cannot_be_reached_is_told_after_one_request(monkeypatch):
    def absent(name, **options):
        assert options.get("local_files_only"), "a download would retry for a minute"
        raise OSError("not in the cache")

    def unreachable(self, name, timeout):
        raise ConnectionError("no route to the host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", absent)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    told = r"Cannot load the encoder some/t5 \(no such folder here, .*\): no route to the host\. Set its `name`"
    with pytest.raises(ConfigError, match=told):
        weights.load("some/t5", "AutoTokenizer", "T5EncoderModel")
    with pytest.raises(ConfigError, match=told):
        weights.digest("some/t5")


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_one_sentence_with_a_remedy(lost, folder, tmp_path):
    (copy(folder, tmp_path / "t5") / lost).unlink()
    with pytest.raises(ConfigError, match=r"Cannot load the encoder .*t5 from this folder: .*text can also be read by"):
        weights.load(str(tmp_path / "t5"), "AutoTokenizer", "T5EncoderModel")


def test_a_pickle_is_no_weights_and_is_not_asked_for(folder, monkeypatch, tmp_path):
    place = copy(folder, tmp_path / "t5")
    (place / "model.safetensors").rename(place / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="Cannot load the encoder"):
        weights.load(str(place), "AutoTokenizer", "T5EncoderModel")
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **how: asked.extend(how["allow_patterns"]))
    weights.find("another/t5")
    assert "*.safetensors" in asked
    assert not [pattern for pattern in asked if Path("pytorch_model.bin").match(pattern)]
