from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from t2a.errors import ConfigError, DataError
from t2a.generate import container
from t2a.generate.compress import compress
from t2a.generate.decompress import decompress
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
    seconds, lost = decompress(tmp_path / "clip.t2a", tmp_path / "out.wav")
    assert (seconds, lost) == (samples / RATE, [])
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
    assert decompress(tmp_path / "x", tmp_path / "out.wav").seconds == pytest.approx(12, abs=2 / RATE)


def test_what_is_no_audio_leaves_nothing_behind(model, tmp_path):
    (tmp_path / "text.wav").write_text("hello")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.0]), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    before = set(tmp_path.iterdir())
    for name, message in {"text": "cannot be decoded", "nan": "NaN", "empty": "no samples", "none": "no audio"}.items():
        with pytest.raises(DataError, match=message):
            compress(tmp_path / f"{name}.wav", tmp_path / "y", model)
    assert set(tmp_path.iterdir()) == before


def test_chunks_may_be_shorter_but_not_shorter_than_a_frame(model, tmp_path):
    source = clip(tmp_path / "in.wav", 20 * RATE)
    sizes = [compress(source, tmp_path / "x", model, chunk_seconds=seconds) for seconds in (10.0, 2.0)]
    assert sizes[1] - sizes[0] == pytest.approx(8 * container.OVERHEAD, abs=10)
    for seconds in (0.0, 0.01, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="cannot be made"):
            compress(source, tmp_path / "y", model, chunk_seconds=seconds)
