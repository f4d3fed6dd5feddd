"""States that encoders made beforehand: written by `prepare codes`, streamed, and used by training in their place."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from t2a.conditions.melody import ChromaConfig
from t2a.conditions.text import T5Config, TextEncoder
from t2a.config import validate
from t2a.data import pipeline
from t2a.data.batch import batches, held_out
from t2a.data.captions import CaptionConfig
from t2a.data.plan import Plan
from t2a.data.position import Position
from t2a.data.rows import AudioConfig, CodesConfig
from t2a.data.shards import read_manifest, write_shards
from t2a.errors import ConfigError
from t2a.generate.codes import precompute_codes
from t2a.models.codec import Codec, CodecConfig
from t2a.nn.quantize import QuantizerConfig
from t2a.tasks.lm import LMTask, LMTaskConfig
from tests.conditions import peers
from tests.generate.test_codes import RATE, a_row

CAPTIONS = [
    ["a dog barks", "bell"],
    ["rain falls"],
    ["bell", "a bell", "rain"],
    ["a dog"],
    ["dog falls", "rain"],
    ["a"],
]
MELODY = ChromaConfig(kind="chroma", sample_rate=RATE, window=512)
SECONDS = 0.4
FRAMES = round(SECONDS * RATE / 8)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> T5Config:
    return T5Config(kind="t5", name=str(peers.t5(tmp_path_factory.mktemp("t5"))))


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> str:
    torch.manual_seed(0)
    quantizer = QuantizerConfig(codebooks=3, bins=32)
    config = CodecConfig(sample_rate=RATE, filters=2, ratios=(4, 2), dimension=4, quantizer=quantizer)
    Codec(config).save_pretrained(folder := tmp_path_factory.mktemp("codec"))
    return str(folder)


@pytest.fixture(scope="module")
def corpora(codec, text, tmp_path_factory) -> dict[str, str]:
    """A corpus of sound, and that of its codes with the states of both encoders."""
    folder = tmp_path_factory.mktemp("corpora")
    rows = [a_row(i, SECONDS, captions=captions) for i, captions in enumerate(CAPTIONS)]
    write_shards(rows, str(folder / "audio"))
    encoders = {"text": text, "melody": MELODY}
    precompute_codes(str(folder / "audio"), str(folder / "codes"), codec, encoders=encoders)
    return {"audio": str(folder / "audio"), "codes": str(folder / "codes")}


def build(codec: str, text: T5Config) -> LMTask:
    widths = {"melody": 12, "text": 12}
    model = {"codebooks": 3, "bins": 32, "max_frames": FRAMES, "width": 16, "layers": 1, "heads": 2}
    model["conditions"] = {name: {"width": width, "fuse": ["prepend"]} for name, width in widths.items()}
    encoders = {"melody": MELODY.model_dump(), "text": text.model_dump()}
    return validate(LMTaskConfig, {"codec": codec, "model": model, "encoders": encoders}, "test").build()


def rows(batch: dict, conditions: dict) -> dict[str, list[torch.Tensor]]:
    """The real states of each row by its id, so that batches in any order can be compared."""
    return {name: [c.tokens[i][c.mask[i]] for i in np.argsort(batch["ids"])] for name, c in sorted(conditions.items())}


def test_training_on_codes_is_told_what_training_on_sound_is_without_running_an_encoder(
    codec, text, corpora, monkeypatch
):
    task = build(codec, text)
    sound = held_out(AudioConfig(uri=corpora["audio"], sample_rate=RATE, crop_seconds=SECONDS), "train", 6, 0, 1, 6)[0]
    made = rows(sound, task._conditions(sound, torch.device("cpu")))
    monkeypatch.setattr(T5Config, "build", lambda *_: pytest.fail("text encoded again"))
    codes = held_out(CodesConfig(uri=corpora["codes"], codebooks=3, crop_frames=FRAMES), "train", 6, 0, 1, 6)[0]
    stored = rows(codes, build(codec, text)._conditions(codes, torch.device("cpu")))
    assert list(stored) == ["melody", "text"]
    for name in stored:
        for ours, theirs in zip(stored[name], made[name], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    nets = {"lm": task.networks()["lm"].eval()}
    found, expected = (task.evaluate(nets, batch) for batch in (codes, sound))
    for name in ("ce", "ce_shuffled", "ce_null"):
        torch.testing.assert_close(found[name], expected[name], atol=1e-3, rtol=0)


def stream(uri: str, **changes) -> dict:
    """One batch of the training stream, as the readers give it."""
    config = CodesConfig(uri=uri, codebooks=3, crop_frames=FRAMES // 2, window=8, **changes)
    plan = Plan(read_manifest(uri), "train", seed=1)
    task = {"first": np.array([0]), "stop": np.array([1])}
    blocks = pipeline._read(task, config=config, plan=plan, position=Position(), block_rows=4)
    return next(batches(blocks, config, 6, Position()))


def test_the_stream_gives_each_row_the_states_of_its_caption_and_of_its_crop(text, corpora):
    batch = stream(corpora["codes"])
    encoder = TextEncoder(text)
    text_states, melody = (batch["states"][name].condition for name in ("text", "melody"))
    assert batch["states"]["text"].fingerprint == text.fingerprint()
    torch.testing.assert_close(text_states.tokens, encoder(batch["captions"]).tokens, atol=1e-3, rtol=1e-3)
    assert torch.equal(text_states.mask, encoder(batch["captions"]).mask)
    assert melody.mask.sum(1).tolist() == [1 + math.floor(SECONDS / 2 * MELODY.frame_rate)] * 6
    assert (melody.tokens.sum(-1) == 1).all()


def test_captions_written_anew_are_encoded_anew(corpora):
    assert set(stream(corpora["codes"], captions=CaptionConfig(lower=True))["states"]) == {"text", "melody"}
    states = stream(corpora["codes"], captions=CaptionConfig(drop_stop_words=True))["states"]
    assert set(states) == {"melody"}
    assert stream(corpora["codes"], states=False)["states"] == {}


def test_another_encoder_s_states_are_not_taken(codec, text, corpora, tmp_path):
    other = T5Config(kind="t5", name=str(peers.t5(tmp_path / "t5")))
    batch, task = stream(corpora["codes"]), build(codec, other)
    with pytest.warns(UserWarning, match="stored states of text are another encoder's"):
        found = task._conditions(batch, torch.device("cpu"))["text"]
    torch.testing.assert_close(found.tokens, TextEncoder(other)(batch["captions"]).tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task._conditions(batch, torch.device("cpu"))


def test_the_manifest_says_who_made_the_states(text, corpora):
    states = read_manifest(corpora["codes"]).states
    assert states["text"].encoder == text.model_dump(mode="json")
    assert (states["text"].reads, states["text"].width, states["text"].rate) == ("captions", 12, None)
    assert (states["melody"].reads, states["melody"].rate) == ("sounds", RATE / 128)


def test_codes_without_a_melody_do_not_train_a_model_that_follows_one(codec, text, corpora):
    batch = stream(corpora["codes"], states=False)
    with pytest.raises(ConfigError, match=r"encoders\.melody reads sounds, .*--with melody=chroma"):
        build(codec, text)._conditions(batch, torch.device("cpu"))


def test_a_corpus_in_the_place_of_an_encoder_is_refused_before_any_work(codec, corpora, tmp_path):
    missing = {"text": T5Config(kind="t5", name=str(Path(corpora["codes"])))}
    with pytest.raises(ConfigError, match="Cannot load the encoder"):
        precompute_codes(corpora["audio"], str(tmp_path / "codes"), codec, encoders=missing)
    assert not (tmp_path / "codes").exists()
