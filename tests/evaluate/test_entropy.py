"""What entropy coding saves, against codes whose entropy is known."""

import numpy as np
import pytest
import torch

from t2a.data.schema import pack_codes
from t2a.data.shards import write_shards
from t2a.errors import ConfigError, DataError
from t2a.evaluate import evaluate
from t2a.evaluate.entropy import _ratio
from t2a.generate.container import OVERHEAD
from t2a.models.entropy import EntropyConfig, EntropyModel
from t2a.models.fixedpoint import INTEGER, quantise
from tests.train.small import audio_corpus


def model(folder, **changes) -> str:
    """A model that holds code 0 to be e^2 times as likely as each of the others, whatever stands before it."""
    torch.manual_seed(0)
    small = {"codebooks": 2, "bins": 16, "past": 8, "width": 8, "layers": 1, "heads": 2}
    made = EntropyModel(EntropyConfig.model_validate(small | changes))
    torch.nn.init.zeros_(made.heads)
    with torch.no_grad():
        made.bias[:, 0] = 2.0
    made.save_pretrained(folder)
    quantise(made).save_pretrained(folder / INTEGER)
    return str(folder)


def corpus(uri: str) -> str:
    draw = np.random.default_rng(0)

    def clip(index: int) -> dict:
        codes = draw.choice(16, size=(2, 40 + 200 * (index % 3)), p=[0.4, *[0.04] * 15])
        return {
            "id": f"{index}", "codes": pack_codes(codes), "frame_rate": 20.0, "seconds": codes.shape[1] / 20,
            "captions": ["x"], "source": "made", "licence": "CC0-1.0", "split": "test",
        }  # fmt: skip

    write_shards((clip(index) for index in range(30)), uri, kind="codes")
    return uri


def test_bits_are_those_of_the_model_and_of_its_files(tmp_path):
    found = evaluate(model(tmp_path / "m"), corpus(str(tmp_path / "codes")), split="test", rows=30).figures
    systems = ["float model", "integer model", "file", "unigram"]
    each = [f"bits/integer model, codebook {k}" for k in (1, 2)]
    assert set(found) == {f"{kind}/{name}" for kind in ("bits", "saving") for name in systems} | set(each)
    total = np.exp(2) + 15
    expected = 0.4 * np.log2(total / np.exp(2)) + 0.6 * np.log2(total)
    assert found["bits/float model"].mean == pytest.approx(expected, abs=0.03)
    assert found["bits/integer model"].mean == pytest.approx(found["bits/float model"].mean, rel=1e-3)
    entropy = -0.4 * np.log2(0.4) - 0.6 * np.log2(0.04)
    assert found["bits/unigram"].mean == pytest.approx(entropy, abs=0.03)
    # Clips of 40, 240 and 440 frames at 20 a second make 1, 2 and 3 chunks of 10 s.
    heads = 8 * OVERHEAD * 6 / (2 * 720)
    assert heads < found["bits/file"].mean - found["bits/integer model"].mean < heads + 6 * 64 / (2 * 720)
    assert np.mean([found[name].mean for name in each]) == pytest.approx(found["bits/integer model"].mean)
    for name in systems:
        saving = found[f"saving/{name}"]
        assert saving.mean == pytest.approx(1 - found[f"bits/{name}"].mean / 4)
        assert saving.low < saving.mean < saving.high
        assert saving.count == 30


def test_a_ratio_weighs_clips_by_their_codes():
    assert _ratio([10, 300], [10, 100]).mean == pytest.approx(310 / 110)
    exact = _ratio([20, 200, 60], [10, 100, 30])
    assert (exact.low, exact.high) == (pytest.approx(2), pytest.approx(2))


def test_codes_of_another_codec_and_audio_are_refused(tmp_path):
    codes = corpus(str(tmp_path / "codes"))
    for changes in ({"bins": 15}, {"codebooks": 3}):
        with pytest.raises(DataError, match="give codes of the model's codec"):
            evaluate(model(tmp_path / "m", **changes), codes)
    with pytest.raises(ConfigError, match="a corpus of audio"):
        evaluate(model(tmp_path / "m"), audio_corpus(str(tmp_path / "audio")))
    with pytest.raises(DataError, match="split 'valid'"):
        evaluate(model(tmp_path / "m"), codes, split="valid")
