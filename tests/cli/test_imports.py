"""`t2a import` and `t2a decompress` of a foreign file, from end to end."""

import torch
from typer.testing import CliRunner

from t2a.audio.io import probe
from t2a.cli import app
from t2a.models.codec import Codec
from tests.cli.test_main import t2a
from tests.interop import peers


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


def test_a_source_that_is_none_is_one_sentence(tmp_path):
    told = t2a("import", "audiocraft", tmp_path / "nowhere", tmp_path / "out")
    assert told.returncode == 2
    assert told.stderr.startswith("error:")
    assert "Traceback" not in told.stderr
