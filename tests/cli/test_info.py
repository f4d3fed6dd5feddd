"""What `t2a info` tells of a model folder, a run and a corpus."""

from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from t2a.cli.info import describe
from t2a.data.shards import write_shards
from t2a.data.states import StatesColumn
from t2a.errors import CheckpointError
from t2a.models.codec import Codec
from t2a.models.lm import LM
from tests.train.small import CODEC, audio_corpus, untrained_codec, untrained_lm


def told(table: Table) -> dict[str, str]:
    """The first two columns, the title under ""."""
    names, values = (list(column.cells) for column in table.columns[:2])
    Console(quiet=True).print(table)  # it can be shown
    return dict(zip(names, values, strict=True)) | {"": str(table.title)}


def test_a_codec_is_told_with_its_size_and_every_setting(tmp_path: Path) -> None:
    found = told(describe(untrained_codec(tmp_path / "codec")))
    assert found[""] == f"{tmp_path / 'codec'}: codec"
    size = sum(tensor.numel() for tensor in Codec.from_pretrained(tmp_path / "codec").state_dict().values())
    assert found["parameters and buffers"] == f"{size:,}"
    assert found["sample_rate"] == str(CODEC["sample_rate"])
    assert found["quantizer.bins"] == "16"


def test_a_language_model_is_told_with_what_it_needs(tmp_path: Path) -> None:
    model = untrained_lm(tmp_path / "lm", untrained_codec(tmp_path / "codec"))
    found = told(describe(model))
    assert found[""] == f"{model}: lm"
    size = sum(tensor.numel() for tensor in LM.from_pretrained(model).state_dict().values())
    assert found["parameters and buffers"] == f"{size:,}"
    assert (found["width"], found["codebooks"]) == ("32", "2")


def test_a_corpus_is_told_by_its_splits(tmp_path: Path) -> None:
    table = describe(audio_corpus(str(tmp_path / "corpus"), rows=12))
    assert told(table) == {"train": "1", "valid": "1", "": f"{tmp_path / 'corpus'}: a corpus of audio"}
    assert list(table.columns[2].cells) == ["10", "2"]


def test_a_corpus_tells_whose_states_lie_beside_its_codes(tmp_path: Path) -> None:
    row = {
        "id": "x", "codes": {"bytes": bytes(8), "codebooks": 2}, "frame_rate": 50.0, "seconds": 0.04,
        "captions": ["x"], "source": "made", "licence": "CC0-1.0", "split": "train", "states_text": [b""],
    }  # fmt: skip
    made = StatesColumn(encoder={"kind": "t5"}, fingerprint="a", reads="captions", width=8)
    write_shards([row], str(tmp_path), kind="codes", states={"text": made})
    assert describe(str(tmp_path)).caption == "with states of text by t5"


def test_weights_that_are_cut_short_are_told(tmp_path: Path) -> None:
    weights = Path(untrained_codec(tmp_path / "codec")) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"Cannot read .*safetensors: .*copy it again"):
        describe(str(tmp_path / "codec"))
