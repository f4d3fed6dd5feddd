"""`t2a import` and `t2a decompress` of a foreign file, from end to end."""

import re
import shutil

import pytest
import torch
from typer.testing import CliRunner

from t2a.audio.io import probe
from t2a.cli import app, main
from t2a.models.codec import Codec, CodecConfig
from t2a.nn.quantize import QuantizerConfig
from tests.conditions import peers as encoders
from tests.interop import musicgens, peers, released


def test_a_foreign_codec_decodes_a_foreign_file(tmp_path):
    model = peers.build("encodec_24khz")
    torch.save(model.state_dict(), tmp_path / "model.th")
    options = ["--sample-rate", "24000", "--causal", "--pad-mode", "reflect"]
    made = CliRunner().invoke(app, ["import", "audiocraft", f"{tmp_path}/model.th", f"{tmp_path}/codec", *options])
    assert made.exit_code == 0, made.output
    assert "24,000 Hz, 1 channel(s), 75 frames/s of 4 x 10 bits (3 kbit/s)" in " ".join(made.output.split())
    assert Codec.from_pretrained(tmp_path / "codec").config.causal
    (tmp_path / "x.ecdc").write_bytes(peers.compressed(model, 12_000))
    decoded = CliRunner().invoke(
        app, ["decompress", f"{tmp_path}/x.ecdc", f"{tmp_path}/x.wav", "--model", f"{tmp_path}/codec"]
    )
    assert decoded.exit_code == 0, decoded.output
    assert "x.wav: 0.50 s" in " ".join(decoded.output.split())
    assert probe(tmp_path / "x.wav").seconds == 0.5


def test_a_source_that_is_none_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["t2a", "import", "audiocraft", f"{tmp_path}/nowhere", f"{tmp_path}/out"])
    with pytest.raises(SystemExit, match="2"):
        main()
    told = capsys.readouterr().err
    assert told.startswith("error:")
    assert "nowhere is no file, nor a folder with a compression_state_dict.bin" in told
    assert not (tmp_path / "out").exists()


def test_options_of_the_other_kind_are_refused(tmp_path):
    torch.save({}, tmp_path / "model.th")
    asked = CliRunner().invoke(app, ["import", "audiocraft", f"{tmp_path}/model.th", f"{tmp_path}/out", "--text", "t5"])
    assert "holds a codec, which does not take --text; leave that out" in str(asked.exception)


def test_a_foreign_language_model_becomes_a_folder_that_generates(tmp_path, monkeypatch):
    released.exported(tmp_path, released.state("lm_musicgen"))
    quantizer = QuantizerConfig(codebooks=4, bins=128)
    codec = CodecConfig(sample_rate=32000, filters=2, ratios=(8, 5, 4, 4), dimension=4, quantizer=quantizer)
    Codec(codec).save_pretrained(tmp_path / "codec")
    text = encoders.t5(tmp_path / "t5", width=48)
    options = ["--codec", f"{tmp_path}/codec", "--text", str(text)]
    made = CliRunner().invoke(app, ["import", "audiocraft", str(tmp_path), f"{tmp_path}/lm", *options])
    assert made.exit_code == 0, made.output
    assert "told text by t5; 32,000 Hz, 4 codebooks of 128 codes, up to 30 s" in " ".join(made.output.split())
    said = CliRunner().invoke(
        app, ["generate", f"{tmp_path}/lm", "a dog barks", "--seconds", "0.1", "--out", f"{tmp_path}/x.wav"]
    )
    assert said.exit_code == 0, said.output
    assert probe(tmp_path / "x.wav").seconds == 0.1
    judge = encoders.clap(tmp_path / "clap")
    ranked = ["--seconds", "0.1", "--out", f"{tmp_path}/y.wav", "--best-of", "2", "--judge", str(judge)]
    said = CliRunner().invoke(app, ["generate", f"{tmp_path}/lm", "a dog barks", *ranked])
    assert said.exit_code == 0, said.output
    assert re.search(r"y\.wav: 0\.1 s, seed \d+, score -?0\.\d+, the best of", " ".join(said.output.split()))


@pytest.mark.parametrize(("kind", "channels"), [("stereo", 2), ("melody", 1)])
def test_a_musicgen_of_transformers_becomes_a_folder_that_generates(kind, channels, tmp_path, monkeypatch):
    source = musicgens.saved(musicgens.build(kind), tmp_path / "source")
    made = CliRunner().invoke(app, ["import", "huggingface", source, f"{tmp_path}/lm"])
    assert made.exit_code == 0, made.output
    assert "text by t5; 8,000 Hz" in " ".join(made.output.split())
    shutil.rmtree(source)
    said = CliRunner().invoke(
        app, ["generate", f"{tmp_path}/lm", "a dog barks", "--seconds", "0.1", "--out", f"{tmp_path}/x.wav"]
    )
    assert said.exit_code == 0, said.output
    found = probe(tmp_path / "x.wav")
    assert (found.seconds, found.channels) == (0.1, channels)
