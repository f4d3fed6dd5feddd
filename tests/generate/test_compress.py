from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from t2a.errors import CheckpointError, ConfigError, DataError, StorageError
from t2a.generate.compress import compress, decompress
from t2a.models.codec import Codec, CodecConfig
from t2a.nn.quantize import QuantizerConfig

RATE = 2000


def codec(folder: Path, seed: int = 0, **changes) -> str:
    torch.manual_seed(seed)
    small = {"filters": 4, "ratios": (5, 4, 2), "dimension": 8, "lstm_layers": 0, "sample_rate": RATE}
    model = Codec(CodecConfig(**small | {"quantizer": QuantizerConfig(codebooks=3, bins=30)} | changes))
    model.train()(0.3 * torch.randn(4, model.channels, 4000))
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return codec(tmp_path_factory.mktemp("models") / "codec")


def clip(path: Path, samples: int, channels: int = 1, rate: int = RATE) -> Path:
    wave = 0.3 * np.random.default_rng(0).standard_normal((samples, channels))
    soundfile.write(path, wave.clip(-1, 1), rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("samples", [1, 39, 40, 20000, 20001, 53219])
def test_a_clip_in_chunks_comes_back_as_the_codec_gives_it_back_whole(model, tmp_path, samples):
    source = clip(tmp_path / "in.wav", samples)
    seen = []
    size = compress(source, tmp_path / "clip.t2a", model, progress=lambda done, total: seen.append((done, total)))
    assert size == (tmp_path / "clip.t2a").stat().st_size
    seconds = decompress(tmp_path / "clip.t2a", tmp_path / "out.wav")
    assert seconds == samples / RATE
    chunks = -(-samples // (10 * RATE))
    assert seen == [(i + 1, chunks) for i in range(chunks)]
    wave, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    original = torch.from_numpy(soundfile.read(source, dtype="float32")[0])[None, None]
    with torch.inference_mode():
        whole = Codec.from_pretrained(model)(original).audio[0, 0].clamp(-1, 1)
    assert (len(wave), rate) == (samples, RATE)
    # Without an LSTM seams are no different; a sixteen-bit file rounds.
    assert np.abs(wave - whole.numpy()).max() < 1e-4


def test_bits_follow_the_codebooks(model, tmp_path):
    source = clip(tmp_path / "in.wav", 60000)
    sizes = [compress(source, tmp_path / "x", model, codebooks=k) for k in (1, 2, 3)]
    assert np.diff(sizes) == pytest.approx(60000 / 40 * 5 / 8, abs=3)
    with pytest.raises(ConfigError, match=r"4 codebooks are asked for.* has 1 to 3"):
        compress(source, tmp_path / "x", model, codebooks=4)


def test_each_channel_is_coded_by_a_codec_of_one(model, tmp_path):
    compress(clip(tmp_path / "in.wav", 5000, channels=2), tmp_path / "x", model)
    decompress(tmp_path / "x", tmp_path / "out.flac")
    assert soundfile.read(tmp_path / "out.flac")[0].shape == (5000, 2)


def test_a_codec_of_two_channels_takes_two(tmp_path):
    stereo = codec(tmp_path / "stereo", channels=2)
    compress(clip(tmp_path / "two.wav", 5000, channels=2), tmp_path / "x", stereo)
    decompress(tmp_path / "x", tmp_path / "out.wav")
    assert soundfile.read(tmp_path / "out.wav")[0].shape == (5000, 2)
    with pytest.raises(DataError, match=r"1 channels, the codec .* takes 2"):
        compress(clip(tmp_path / "one.wav", 5000), tmp_path / "x", stereo)


def test_other_rates_are_resampled_in_pieces(model, tmp_path):
    source = clip(tmp_path / "in.wav", 44100 * 12, rate=44100)
    compress(source, tmp_path / "x", model)
    assert decompress(tmp_path / "x", tmp_path / "out.wav") == pytest.approx(12, abs=2 / RATE)


def test_another_codec_is_refused(model, tmp_path):
    compress(clip(tmp_path / "in.wav", 5000), tmp_path / "x", model)
    other = codec(tmp_path / "other", seed=1)
    with pytest.raises(CheckpointError, match="compressed by another codec"):
        decompress(tmp_path / "x", tmp_path / "out.wav", other)
    assert not (tmp_path / "out.wav").exists()


def test_what_is_damaged_or_no_audio_leaves_nothing_behind(model, tmp_path):
    compress(clip(tmp_path / "in.wav", 5000), tmp_path / "x", model)
    data = bytearray((tmp_path / "x").read_bytes())
    data[-1] ^= 1
    (tmp_path / "x").write_bytes(data)
    (tmp_path / "text.wav").write_text("hello")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.0]), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    before = set(tmp_path.iterdir())
    with pytest.raises(DataError, match="chunk 1 of 1"):
        decompress(tmp_path / "x", tmp_path / "out.wav")
    for name, message in {"text": "cannot be decoded", "nan": "NaN", "empty": "no samples", "none": "no audio"}.items():
        with pytest.raises(DataError, match=message):
            compress(tmp_path / f"{name}.wav", tmp_path / "y", model)
    assert set(tmp_path.iterdir()) == before


def test_a_failure_in_the_middle_keeps_the_old_file(model, tmp_path, monkeypatch):
    compress(clip(tmp_path / "in.wav", 50000), tmp_path / "x", model)
    decompress(tmp_path / "x", tmp_path / "out.wav")
    old, before = (tmp_path / "out.wav").read_bytes(), set(tmp_path.iterdir())

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decompress(tmp_path / "x", tmp_path / "out.wav", progress=stop)
    assert (tmp_path / "out.wav").read_bytes() == old
    assert set(tmp_path.iterdir()) == before


def test_a_place_that_cannot_be_written_and_a_foreign_suffix_are_said(model, tmp_path):
    compress(clip(tmp_path / "in.wav", 500), tmp_path / "x", model)
    with pytest.raises(ConfigError, match=r"no audio format goes by the suffix '\.xyz'"):
        decompress(tmp_path / "x", tmp_path / "out.xyz")
    with pytest.raises(StorageError, match="Cannot write"):
        decompress(tmp_path / "x", tmp_path / "nowhere" / "out.wav")
