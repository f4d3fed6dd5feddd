import torch

from t2a.conditions.encoders import Encoders, parse_options
from t2a.conditions.letters import BytesConfig


def test_a_caption_is_its_bytes():
    tokens, mask = BytesConfig(kind="bytes", max_bytes=4).build()(["é a", " ", "thunder"])
    assert mask.sum(1).tolist() == [4, 0, 4]
    assert bytes(tokens[0].argmax(-1).tolist()).decode() == "é a"
    assert bytes(tokens[2].argmax(-1).tolist()) == b"thun"
    assert torch.equal(tokens.sum(-1), mask.float())


def test_it_is_an_encoder_like_any_other():
    configs = parse_options(["text=bytes"])
    assert Encoders(configs, {"text": 256})({"captions": ["bell"]})["text"].tokens.shape == (1, 4, 256)
    assert configs["text"].fingerprint() != BytesConfig(kind="bytes", max_bytes=9).fingerprint()
