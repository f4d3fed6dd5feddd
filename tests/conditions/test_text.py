import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch

from t2a.conditions.text import MiniLMConfig, T5Config, TextEncoder
from t2a.errors import ConfigError
from tests.conditions import peers


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    return TextEncoder(MiniLMConfig(max_tokens=16))


def test_captions_become_token_states_with_their_mask(minilm):
    tokens, mask = minilm(["a dog barks", "rain falls on a tin roof while thunder rolls"])
    assert tokens.shape == (2, mask.shape[1], 384)
    assert tokens.dtype == torch.float32
    assert not tokens.requires_grad
    assert mask.sum(1).tolist() == [6, 11]  # word pieces and two marks
    assert (tokens[~mask] == 0).all()


def test_the_weights_are_the_pretrained_ones(minilm):
    tokens, mask = minilm(["a dog barks", "a puppy is barking", "an orchestra plays"])
    pooled = torch.nn.functional.normalize((tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=-1)
    near, far = pooled[0] @ pooled[1], pooled[0] @ pooled[2]
    assert near > 0.6 > 0.3 > far


def test_a_caption_is_encoded_once_and_the_same_beside_any_other(monkeypatch):
    fresh = TextEncoder(MiniLMConfig(max_tokens=16))
    alone = fresh(["a bell rings"])
    beside = TextEncoder(MiniLMConfig(max_tokens=16))(["a long train passes over an iron bridge", "a bell rings"])
    length = alone.tokens.shape[1]
    torch.testing.assert_close(beside.tokens[1:, :length], alone.tokens, atol=1e-5, rtol=0)
    monkeypatch.setattr(fresh, "_encode", lambda captions: pytest.fail(f"{captions} encoded again"))
    assert torch.equal(fresh(["a bell rings"]).tokens, alone.tokens)


def test_the_memory_forgets_what_was_not_used_for_longest():
    encoder = TextEncoder(MiniLMConfig(), remember=2)
    for captions in (["one"], ["two"], ["one"], ["three"]):
        encoder(captions)
    assert list(encoder._states) == ["one", "three"]


def test_an_empty_caption_has_no_real_token(minilm):
    tokens, mask = minilm(["", "  "])
    assert tokens.shape[:2] == (2, 1)
    assert not mask.any()
    assert minilm(["", "a bell"]).mask.any(1).tolist() == [False, True]


def test_a_long_caption_is_cut_with_one_warning_that_names_the_limit():
    encoder = TextEncoder(MiniLMConfig(max_tokens=8))
    with pytest.warns(UserWarning, match="reads the first 8"):
        assert encoder(["rain " * 50]).mask.sum() == 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder(["wind " * 50])


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory) -> Path:
    return peers.t5(tmp_path_factory.mktemp("t5"))


def test_a_t5_folder_gives_its_encoder_s_states(t5_folder):
    from transformers import AutoTokenizer, T5EncoderModel

    encoder = TextEncoder(T5Config(kind="t5", name=str(t5_folder)))
    tokens, mask = encoder(["a dog barks", "bell"])
    assert encoder.width == 12
    assert mask.sum(1).tolist() == [3, 1]
    inputs = AutoTokenizer.from_pretrained(t5_folder)(["bell"], return_tensors="pt")
    expected = T5EncoderModel.from_pretrained(t5_folder).eval()(input_ids=inputs["input_ids"]).last_hidden_state
    torch.testing.assert_close(tokens[1:, :1], expected, atol=1e-5, rtol=0)


def test_a_place_without_a_model_is_told_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"no-such/model .*sought on the Hugging Face hub.*Set its `name`"):
        TextEncoder(T5Config(kind="t5", name="no-such/model"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(ConfigError, match=r"from this folder.*kind: minilm"):
        TextEncoder(T5Config(kind="t5", name=str(tmp_path)))


def test_a_fingerprint_is_of_the_weights_and_the_settings_not_of_the_place(t5_folder, tmp_path):
    own = T5Config(kind="t5", name=str(t5_folder))
    copied = T5Config(kind="t5", name=str(shutil.copytree(t5_folder, tmp_path / "copy")))
    other = T5Config(kind="t5", name=str(peers.t5(tmp_path / "other")))
    assert own.fingerprint() == copied.fingerprint()
    assert len({own.fingerprint(), other.fingerprint(), own.model_copy(update={"max_tokens": 9}).fingerprint()}) == 3
