from typer.testing import CliRunner

from t2a.cli import app
from t2a.data.shards import Manifest


def test_the_channels_that_are_coded_one_by_one_are_told(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "t2a.generate.codes.precompute_codes",
        lambda *where, **how: asked.append((where, how["channels"])) or Manifest(kind="codes", shards=()),
    )
    command = ["prepare", "codes", "corpus", "codes", "--model", "codec"]
    for options, channels in (([], 1), (["--channels", "2"], 2)):
        shown = CliRunner().invoke(app, [*command, *options])
        assert shown.exit_code == 0, shown.output
        assert asked.pop() == (("corpus", "codes", "codec"), channels)
    assert CliRunner().invoke(app, [*command, "--channels", "3"]).exit_code == 2
