import pytest
import torch

from t2a.conditions.encoder import Sounds
from t2a.conditions.encoders import Encoders, EncodersFile, parse_options
from t2a.conditions.melody import ChromaConfig
from t2a.conditions.text import MiniLMConfig, T5Config
from t2a.config import validate
from t2a.errors import ConfigError
from t2a.nn.condition import StoredCondition, padded
from tests.conditions import peers

MELODY = ChromaConfig(kind="chroma", sample_rate=8000, window=1024)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> T5Config:
    return T5Config(kind="t5", name=str(peers.t5(tmp_path_factory.mktemp("t5"))))


def test_each_encoder_reads_its_part_of_what_there_is(text):
    encoders = Encoders({"melody": MELODY, "text": text}, {"text": 12, "melody": 12})
    captions, sounds = ["a dog", "bell"], Sounds(torch.randn(2, 1, 4000), torch.tensor([4000, 2000]), 8000)
    both = encoders({"captions": captions, "sounds": sounds})
    assert list(both) == ["melody", "text"]
    assert both["melody"].mask.sum(1).tolist() == [16, 8]
    assert torch.equal(both["text"].tokens, text.build()(captions).tokens)
    assert list(encoders({"captions": captions})) == ["text"]
    assert list(encoders({"captions": captions, "sounds": sounds}, without=["text"])) == ["melody"]


def test_an_encoder_is_loaded_when_it_is_needed_and_once(text, monkeypatch):
    encoders = Encoders({"melody": MELODY, "text": text}, {"text": 12, "melody": 12})
    monkeypatch.setattr(T5Config, "build", lambda *_: pytest.fail("loaded"))
    encoders({"sounds": Sounds(torch.randn(1, 1, 4000), torch.tensor([4000]), 8000)})
    assert encoders.get("melody") is encoders.get("melody")


def test_other_names_than_the_model_s_are_refused_before_any_work(text):
    told = "encoders for text, but the model's conditions are text, melody: name the same under task.encoders"
    with pytest.raises(ConfigError, match=told):
        Encoders({"text": text}, {"text": 12, "melody": 12})
    with pytest.raises(ConfigError, match="encoders for text, but the model's conditions are nothing"):
        Encoders({"text": text}, {})


def test_another_width_than_the_model_s_is_told(text):
    with pytest.raises(ConfigError, match=r"conditions\.text\.width is 10, but the encoder t5 .* width 12: set it to"):
        Encoders({"text": text}, {"text": 10})({"captions": ["a dog"]})


def test_a_model_folder_remembers_its_encoders(tmp_path):
    file = EncodersFile(encoders={"melody": MELODY, "text": MiniLMConfig(max_tokens=9)})
    file.write(tmp_path)
    assert EncodersFile.read(tmp_path) == file
    assert list(EncodersFile.read(tmp_path).encoders) == ["melody", "text"]


def test_an_unknown_kind_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean minilm"):
        validate(EncodersFile, {"encoders": {"text": {"kind": "minilmm"}}}, "recipe")


def test_a_command_line_names_encoders_by_kind_or_in_full():
    found = parse_options(["text=minilm", "melody={kind: chroma, sample_rate: 16000}"])
    assert found == {"text": MiniLMConfig(), "melody": ChromaConfig(kind="chroma", sample_rate=16000)}
    for wrong in (["text"], ["=minilm"], ["text=minilm", "text=t5"]):
        with pytest.raises(ConfigError, match="NAME=KIND"):
            parse_options(wrong)
    with pytest.raises(ConfigError, match="did you mean chroma"):
        parse_options(["melody=chrome"])


def test_stored_states_are_checked_for_their_width(text):
    encoders = Encoders({"text": text}, {"text": 10})
    stored = StoredCondition(padded([torch.zeros(2, 12)], 12), text.fingerprint())
    with pytest.raises(ConfigError, match=r"text\.width is 10, but the encoder t5 gives states of width 12"):
        encoders.stored({"text": stored})
