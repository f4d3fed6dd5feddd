"""Held-out figures: the systems that are compared, and baselines that are what they say."""

import json

import numpy as np
import pytest
import torch

from t2a.audio.io import encode_flac
from t2a.data.shards import write_shards
from t2a.errors import ConfigError, DataError
from t2a.evaluate import Evaluation, evaluate
from t2a.evaluate.clips import draw
from t2a.evaluate.lm import unigram
from t2a.evaluate.systems import compared, depths
from t2a.metrics import quality
from t2a.models import segments
from t2a.models.codec import Codec, CodecConfig
from t2a.models.lm import LM
from t2a.nn.quantize import QuantizerConfig
from t2a.tasks.lm import LMTaskConfig
from tests.train.small import RATE, audio_corpus, codes_corpus, lm_run, untrained_codec


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> str:
    torch.manual_seed(0)  # of some weights nothing is heard, which ViSQOL cannot judge
    return untrained_codec(tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module")
def measured(codec, tmp_path_factory) -> Evaluation:
    corpus = audio_corpus(str(tmp_path_factory.mktemp("measured") / "corpus"))
    return evaluate(codec, corpus, split="valid", rows=6, listened=0)


def test_a_codec_is_measured_beside_its_baselines_clip_by_clip(measured):
    systems = measured.by_system()
    # 4 times its 2 kbit/s, but not more than 64 kbit/s, the raw samples of 8 kHz; Opus from 6, MP3 from 8 kbit/s.
    others = {"mu-law, 8 kbit/s", "mu-law, 32 kbit/s"}
    others |= {f"Opus, {rate} kbit/s" for rate in (6, 12, 24)} | {f"MP3, {rate} kbit/s" for rate in (8, 16, 32)}
    assert set(systems) == {"codec", "codec, 1 of 2 codebooks", "untrained", "mu-law"} | others
    assert all({"bit_rate", "si_snr", "mel_distance", "stft_distance"} <= set(row) for row in systems.values())
    assert all(figure.count == 6 and figure.low <= figure.mean <= figure.high for figure in measured.figures.values())
    # The codec measured is itself untrained: only mu-law, which keeps the lowest tones, is far from the other two.
    assert abs(systems["codec"]["mel_distance"].mean - systems["untrained"]["mel_distance"].mean) < 10
    rates = [systems[name]["bit_rate"].mean for name in ("codec, 1 of 2 codebooks", "codec", "mu-law")]
    assert rates == pytest.approx([1, 2, 2])


def test_what_holds_for_all_figures_is_told_beside_them(measured):
    conditions = json.loads(json.dumps(measured.plain(), allow_nan=False))["conditions"]
    assert conditions["clips"] == 6
    assert "seed 0" in conditions["sample"]
    assert [set(book) for book in conditions["codebooks"]] == [{"usage", "perplexity", "frames"}] * 2
    assert conditions["codebooks"][0]["frames"] == 6 * 100
    assert all(0 < book["usage"] <= 1 <= book["perplexity"] <= 16 for book in conditions["codebooks"])
    assert conditions["speed"]["threads"] >= 1
    assert conditions["speed"]["encode"] > 0
    assert "0 clips have captions that name speech" in conditions["left_out"]["stoi"]


def test_the_sample_is_drawn_with_its_seed_and_a_smaller_one_lies_within_it(tmp_path):
    corpus = audio_corpus(str(tmp_path / "corpus"))
    drawn = [dict(draw(corpus, "train", 12, seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert sorted(drawn[0]) == list(range(12))
    assert len({row["id"] for row in drawn[0].values()}) == 12
    assert dict(draw(corpus, "train", 5, 0)) == {turn: row for turn, row in drawn[0].items() if turn < 5}
    assert len(dict(draw(corpus, "valid", 99, 0))) == 8


def spoken_corpus(uri: str) -> str:
    """Six clips of 1.5 s that say they are speech, one of digital silence, one that is no audio."""

    def clip(index: int) -> dict:
        time, random = np.arange(int(1.5 * RATE)) / RATE, np.random.default_rng(index)
        voice = np.sin(2 * np.pi * (140 + 10 * index) * time) * np.clip(np.sin(9 * time), 0, 1)
        wave = np.zeros_like(time) if index == 6 else 0.4 * voice + 0.02 * random.standard_normal(len(time))
        data = b"no audio" if index == 7 else encode_flac(wave.astype(np.float32), RATE)
        return {
            "id": str(index), "audio": {"bytes": data, "path": "x.flac"}, "sample_rate": RATE, "channels": 1,
            "seconds": 1.5, "captions": ["A woman speaks."], "source": "made", "licence": "CC0-1.0", "split": "test",
        }  # fmt: skip

    write_shards((clip(index) for index in range(8)), uri)
    return uri


def test_listeners_judge_what_they_can_and_what_is_left_out_is_counted(codec, tmp_path, monkeypatch):
    pytest.importorskip("visqol")
    monkeypatch.setattr(quality, "available", lambda name: name != "pesq")
    corpus = spoken_corpus(str(tmp_path / "corpus"))
    found = evaluate(codec, corpus, rows=8, listened=1)
    assert found.conditions["skipped"] == {"silent": 1, "undecodable": 1}
    assert found.conditions["left_out"] == {"pesq": "pesq is not installed (t2a[quality])"}
    assert (found.figures["visqol/codec"].count, found.figures["stoi/codec"].count) == (1, 6)
    assert found.figures["visqol/Opus, 24 kbit/s"].mean > found.figures["visqol/codec"].mean
    assert 0 <= found.figures["stoi/codec"].mean < found.figures["stoi/MP3, 32 kbit/s"].mean <= 1
    assert not [name for name in found.figures if name.startswith("pesq")]


def test_a_codec_of_segments_is_measured_in_them(tmp_path):
    torch.manual_seed(0)
    shape = {"filters": 2, "ratios": (4, 2), "dimension": 4, "norm": "time_group", "normalise": True, "overlap": 0.01}
    quantizer = QuantizerConfig(codebooks=2, bins=16)
    model = Codec(CodecConfig(sample_rate=RATE, **shape, segment_seconds=0.1, quantizer=quantizer)).eval()
    wave = 0.3 * np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32)
    coded = compared(model, entropy=lambda codes: 2.0 * codes.numel())["codec"](wave)
    with torch.inference_mode():
        parts = segments.encode(model, torch.from_numpy(wave)[None])
        assert np.allclose(coded.wave, segments.decode(model, parts, RATE)[0].numpy(), atol=1e-6)
    codes = sum(part.codes.numel() for part in parts)
    assert len(parts) == 11
    assert (coded.bits, coded.bits_coded) == (4 * codes + 32 * 11, 2 * codes + 32 * 11)
    model.save_pretrained(tmp_path / "codec")
    corpus = audio_corpus(str(tmp_path / "corpus"))
    found = evaluate(str(tmp_path / "codec"), corpus, split="valid", rows=2, listened=0)
    assert found.figures["si_snr/codec"].count == 2
    assert found.conditions["speed"]["decode"] > 0


def test_entropy_coded_bits_have_a_rate_of_their_own(codec, tmp_path):
    systems = compared(Codec.from_pretrained(codec), entropy=lambda codes: 3.0 * codes.numel())
    coded = systems["codec"](np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32))
    assert coded.bits_coded == 3 / 4 * coded.bits


def test_codebooks_are_measured_one_by_one_and_then_in_doublings():
    assert depths(4) == [1, 2, 3, 4]
    assert depths(32) == [1, 2, 3, 4, 5, 6, 7, 8, 16, 32]
    assert depths(12) == [1, 2, 3, 4, 5, 6, 7, 8, 12]


def test_a_language_model_is_measured_against_the_frequencies_of_its_codes(codec, tmp_path):
    corpus = codes_corpus(str(tmp_path / "codes"))
    task = lm_run("runs", corpus, codec, {"kind": "minilm"}).task
    assert isinstance(task, LMTaskConfig)
    task.build().export({"lm": LM(task.model).state_dict()}, tmp_path)
    found = evaluate(str(tmp_path), corpus, split="valid", rows=8).figures
    # Uniform random codes out of 16: nothing can do better than about log 16, an untrained model is a little worse.
    assert found["nats/unigram"].mean == pytest.approx(np.log(16), abs=0.15)
    assert found["nats/its caption"].mean > found["nats/unigram"].mean
    gain = found["gain/over unigram"]
    assert gain.mean == pytest.approx(found["nats/unigram"].mean - found["nats/its caption"].mean)
    assert gain.high < 0


def test_unigram_cost_is_the_entropy_of_the_codes():
    codes = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 9]]])
    batch = {"codes": codes, "length": torch.tensor([4, 3]), "weight": torch.ones(2)}
    shares = np.array([5 / 7, 2 / 7])
    cost = unigram([batch], codebooks=1, bins=10)
    assert (4 * cost[0] + 3 * cost[1]) / 7 == pytest.approx(-(shares * np.log(shares)).sum())
    filler = batch | {"weight": torch.tensor([1.0, 0.0])}
    assert len(unigram([filler], 1, 10)) == 1


def test_what_cannot_be_measured_is_told(codec, tmp_path):
    corpus = audio_corpus(str(tmp_path / "corpus"))
    with pytest.raises(DataError, match="split 'test'"):
        evaluate(codec, corpus, split="test")
    (tmp_path / "config.json").write_text('{"model_type": "vocoder"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="vocoder"):
        evaluate(str(tmp_path), corpus)
