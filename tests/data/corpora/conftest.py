"""Stand-ins for apt's tools, which would need the network."""

import pytest

from t2a.audio.io import encode_flac, encode_wav
from tests.data.corpora.debs import NAME, build, show, sound


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """An apt that knows the packages in its folder `debs`, as listed in `shown`; it logs what it is asked."""
    bin_folder, debs = tmp_path / "bin", tmp_path / "debs"
    bin_folder.mkdir()
    debs.mkdir()
    log = tmp_path / "log"
    log.touch()
    scripts = {
        "apt-cache": f'cat {debs}/shown 2>/dev/null; echo "apt-cache" >> {log}',
        "apt-get": f"""
echo "apt-get $*" >> {log}
case "$*" in
  *update*) [ -f {debs}/new ] && cp {debs}/new {debs}/shown; exit 0;;
  *) for name; do :; done; cp {debs}/"$name"_*.deb . || {{ echo "E: Unable to fetch $name" >&2; exit 100; }};;
esac""",
    }
    for name, text in scripts.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    monkeypatch.setenv("T2A_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def package(apt):
    files = {
        "usr/share/sounds/env_sounds_water.flac": encode_flac(sound(1), 8000),
        "usr/share/sounds/default_wood_footstep.wav": encode_wav(sound(2), 8000),
        "usr/share/sounds/tnt_explode.wav": encode_wav(sound(3, 50.0), 8000),
        "usr/share/sounds/nothing_known.wav": encode_wav(sound(4), 8000),
        "usr/share/sounds/music/fire_small.wav": encode_wav(sound(5), 8000),
        "usr/share/doc/copyright": b"free",
    }
    deb = build(apt / "debs", NAME, files)
    show(apt, [deb])
    return deb
