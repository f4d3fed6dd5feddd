from pathlib import Path

import numpy as np
import pytest
import torch

from t2a.audio.io import decode, encode_flac
from t2a.data.schema import unpack_codes
from t2a.data.shards import read_rows, write_shards
from t2a.errors import ConfigError, DataError
from t2a.generate.codes import CodeEncoder, precompute_codes
from t2a.models import segments
from t2a.models.codec import Codec, CodecConfig
from t2a.models.lm import LM, LMConfig
from t2a.nn.quantize import QuantizerConfig

RATE = 8000


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    quantizer = QuantizerConfig(codebooks=3, bins=32, kmeans_steps=3)
    model = Codec(CodecConfig(sample_rate=RATE, filters=2, ratios=(4, 2), dimension=4, quantizer=quantizer)).train()
    model(0.5 * torch.randn(4, 1, 4000))  # learns its codebooks
    model.save_pretrained(folder := tmp_path_factory.mktemp("codec"))
    return folder


def a_row(index: int, seconds: float, rate: int = RATE, split: str = "train", **changes) -> dict:
    wave = 0.3 * np.random.default_rng(index).standard_normal((1, round(seconds * rate))).astype(np.float32)
    row = {
        "id": f"clip-{index}",
        "audio": {"bytes": encode_flac(wave, rate), "path": f"{index}.flac"},
        "sample_rate": rate,
        "channels": 1,
        "seconds": seconds,
        "captions": [f"noise number {index}", "hiss"],
        "source": "made",
        "licence": "CC0-1.0",
        "split": split,
        "category": "noise",
    }
    return row | changes


def corpus(folder: Path, rows: list[dict]) -> str:
    write_shards(rows, str(folder))
    return str(folder)


def test_rows_keep_what_they_are_and_their_codes_are_the_codec_s(codec, tmp_path):
    lengths = [0.2, 0.05, 0.2, 0.0501]
    rows = [a_row(i, seconds, split="valid" if i == 3 else "train") for i, seconds in enumerate(lengths)]
    manifest = precompute_codes(corpus(tmp_path / "audio", rows), str(tmp_path / "codes"), str(codec))
    assert manifest.kind == "codes"
    assert manifest.made_from["codec"] == str(codec)
    assert len(manifest.made_from["codec_sha256"]) == 64
    made = [row for split in ("train", "valid") for row in read_rows(str(tmp_path / "codes"), split)]
    model = Codec.from_pretrained(codec)
    for row, source in zip(made, rows, strict=True):
        for name in ("id", "captions", "split", "seconds", "source", "licence", "category"):
            assert row[name] == source[name]
        assert row["frame_rate"] == 1000
        codes = unpack_codes(row["codes"])
        assert codes.shape == (3, -(-round(source["seconds"] * RATE) // 8))
        wave, _ = decode(source["audio"]["bytes"])
        np.testing.assert_array_equal(codes, model.encode(torch.from_numpy(wave)[None])[0].numpy())
    assert not {"audio", "scales"} & set(made[0])


def test_codes_do_not_depend_on_what_is_encoded_beside(codec):
    encoder, random = CodeEncoder(str(codec)), np.random.default_rng(0)
    waves = [random.standard_normal((1, length)).astype(np.float32) for length in (400, 397, 1600, 33, 400)]
    for together, wave in zip(encoder(waves), waves, strict=True):
        np.testing.assert_array_equal(together.codes, encoder([wave])[0].codes)


def test_codes_of_segments_follow_one_another_and_their_scales_lie_beside(tmp_path):
    torch.manual_seed(0)
    shape = {"filters": 2, "ratios": (4, 2), "dimension": 4, "channels": 2, "norm": "time_group"}
    shape |= {"normalise": True, "segment_seconds": 0.1, "overlap": 0.01}
    model = Codec(CodecConfig(sample_rate=RATE, **shape, quantizer=QuantizerConfig(codebooks=3, bins=32)))
    model.save_pretrained(tmp_path / "codec")
    rows = [a_row(i, seconds) for i, seconds in enumerate([0.35, 0.05, 0.35])]
    precompute_codes(corpus(tmp_path / "audio", rows), str(tmp_path / "codes"), str(tmp_path / "codec"))
    for row, source in zip(read_rows(str(tmp_path / "codes"), "train"), rows, strict=True):
        wave = torch.from_numpy(decode(source["audio"]["bytes"])[0]).expand(2, -1)
        with torch.inference_mode():
            parts = segments.encode(model, wave[None])
        expected = torch.cat([part.codes[0] for part in parts], -1).numpy()
        np.testing.assert_array_equal(unpack_codes(row["codes"]), expected)
        np.testing.assert_allclose(row["scales"], [float(part.scale) for part in parts], rtol=1e-6)


def test_channels_that_are_coded_one_by_one_take_turns_by_codebook(codec, tmp_path):
    waves = 0.3 * np.random.default_rng(0).standard_normal((2, 2, 400)).astype(np.float32)
    flac = [{"audio": {"bytes": encode_flac(wave, RATE), "path": "x.flac"}, "channels": 2} for wave in waves]
    where = corpus(tmp_path / "audio", [a_row(index, 0.05) | changes for index, changes in enumerate(flac)])
    manifest = precompute_codes(where, str(tmp_path / "codes"), str(codec), channels=2)
    assert manifest.made_from["channels"] == 2
    alone = CodeEncoder(codec)
    for row, source in zip(read_rows(str(tmp_path / "codes"), "train"), flac, strict=True):
        wave, _ = decode(source["audio"]["bytes"])
        left, right = (found.codes for found in alone([wave[:1], wave[1:]]))
        codes = unpack_codes(row["codes"])
        assert codes.shape == (6, 50)
        np.testing.assert_array_equal(codes[::2], left)
        np.testing.assert_array_equal(codes[1::2], right)
    assert (CodeEncoder(codec, apart=2).channels, alone.channels) == (2, 1)


@pytest.mark.parametrize(
    ("shape", "told"),
    [({"channels": 2}, "codes its channels together"), ({"normalise": True}, "normalises each channel's loudness")],
)
def test_channels_are_taken_apart_for_a_mono_codec_of_loudness_as_it_is_alone(tmp_path, shape, told):
    Codec(CodecConfig(sample_rate=RATE, filters=2, ratios=(4, 2), dimension=4, **shape)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=told):
        CodeEncoder(tmp_path, apart=2)


def test_other_rates_are_resampled(codec, tmp_path):
    where = corpus(tmp_path / "audio", [a_row(0, 0.5, rate=16000)])
    precompute_codes(where, str(tmp_path / "codes"), str(codec))
    [row] = read_rows(str(tmp_path / "codes"), "train")
    assert unpack_codes(row["codes"]).shape == (3, 500)


def test_undecodable_clips_are_counted_and_too_many_stop_it_with_nothing_written(codec, tmp_path):
    broken = a_row(99, 0.1, audio={"bytes": b"noise", "path": "x.flac"})
    where = corpus(tmp_path / "audio", [a_row(0, 0.1), broken, a_row(1, 0.1)])
    manifest = precompute_codes(where, str(tmp_path / "codes"), str(codec), max_skipped=0.5)
    assert manifest.skipped == {"undecodable": 1}
    with pytest.raises(DataError, match="clip-99"):
        precompute_codes(where, str(tmp_path / "other"), str(codec))
    assert not list((tmp_path / "other").glob("*.json"))


def test_a_wrong_model_or_corpus_is_told_before_any_work(codec, tmp_path):
    LM(LMConfig(width=8, heads=2, layers=1, bins=4)).save_pretrained(tmp_path / "lm")
    where = corpus(tmp_path / "audio", [a_row(0, 0.1)])
    with pytest.raises(ConfigError, match="holds a lm, codes are made by a codec"):
        precompute_codes(where, str(tmp_path / "codes"), str(tmp_path / "lm"))
    precompute_codes(where, str(tmp_path / "codes"), str(codec))
    with pytest.raises(ConfigError, match="is a corpus of codes"):
        precompute_codes(str(tmp_path / "codes"), str(tmp_path / "again"), str(codec))
