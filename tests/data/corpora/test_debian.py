"""With a package built on the spot and stand-ins for apt's tools, which would need the network."""

import gzip
import hashlib
import shutil
import subprocess

import numpy as np
import pytest
from rich.progress import Progress

from t2a.audio.io import encode_flac, encode_wav
from t2a.data.corpora import debian
from t2a.data.corpora.packages import available, fetch, unpack
from t2a.data.corpora.rules import load_rules
from t2a.data.prepare import prepare
from t2a.data.shards import read_rows
from t2a.errors import DataError

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
NAME = "minetest-data"
SILENT = Progress(disable=True)


def build(folder, name, files):
    """Build a .deb holding `files`: path -> bytes."""
    root = folder / f"build-{name}"
    (root / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <no@body>\nDescription: sounds\n"
    (root / "DEBIAN" / "control").write_text(control)
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    deb = folder / f"{name}_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", "-Znone", str(root), str(deb)], check=True, capture_output=True)
    return deb


def sound(seed, seconds=0.5):
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, int(seconds * 8000))).astype(np.float32)
    return wave


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


def show(folder, debs, file="shown"):
    stanzas = [
        f"Package: {deb.name.split('_')[0]}\nVersion: 1\nSize: {deb.stat().st_size}\n"
        f"SHA256: {hashlib.sha256(deb.read_bytes()).hexdigest()}\nDescription: sounds\n Size: of no matter\n"
        for deb in debs
    ]
    (folder / "debs" / file).write_text("\n".join(stanzas))


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


def test_a_package_becomes_rows(apt, package, monkeypatch):
    rules = load_rules("debian_sounds")
    only = rules.model_copy(update={"packages": tuple(p for p in rules.packages if p.name == NAME)})
    monkeypatch.setattr(debian, "load_rules", lambda name: only)
    uri = str(apt / "corpus")
    manifest = prepare("debian-sounds", uri, progress=False)
    rows = {row["id"]: row for split in ("train", "valid", "test") for row in read_rows(uri, split)}
    assert sorted(rows) == [
        "minetest-data/usr/share/sounds/default_wood_footstep.wav",
        "minetest-data/usr/share/sounds/env_sounds_water.flac",
        *(f"minetest-data/usr/share/sounds/tnt_explode.wav#{i}" for i in range(4)),
    ]
    step = rows["minetest-data/usr/share/sounds/default_wood_footstep.wav"]
    assert step["captions"] == ["A footstep on wood.", "Someone takes a step on wood."]
    assert (step["category"], step["source"], step["licence"]) == ("footsteps", NAME, "CC-BY-SA-3.0")
    assert (step["sample_rate"], step["channels"], step["seconds"]) == (16000, 1, 0.5)
    assert manifest.skipped == {}
    assert manifest.made_from["source"] == "debian-sounds"


def test_labels_of_a_sound_set_give_name_and_licence(tmp_path, monkeypatch):
    (package,) = [p for p in load_rules("debian_sounds").packages if p.name == "openttd-opensfx"]
    labels = {'"Jackhammer". License: CC-BY-SA-2.0. By X': b"1", '"Toyland: Fizz". License: CC0': b"2",
              "unnamed": b"3", '"Wind".': b"4"}  # fmt: skip
    (tmp_path / "opensfx.cat").touch()
    monkeypatch.setitem(debian.READERS, "cat", lambda path: iter(labels.items()))
    found = list(debian.sounds_of(package, {}, tmp_path))
    assert [(sound.origin, sound.licence, sound.captions) for sound in found] == [
        ("Jackhammer", "CC-BY-SA-2.0", ["A jackhammer pounds the road."]),
        ("Wind", "CC-BY-3.0", ["Wind blows."]),
    ]


def test_a_container_that_is_gone_is_told(tmp_path):
    (package,) = [p for p in load_rules("debian_sounds").packages if p.name == "ufoai-sound"]
    with pytest.raises(DataError, match=r"ufoai-sound has no \*\*/0snd\.pk3"):
        list(debian.sounds_of(package, {}, tmp_path))


def test_downloads_are_verified_and_kept(apt, package):
    (found,) = available([NAME])
    deb = fetch(found, SILENT)
    assert deb.read_bytes() == package.read_bytes()
    asked = (apt / "log").read_text().count("download")
    assert fetch(found, SILENT) == deb
    assert (apt / "log").read_text().count("download") == asked == 1
    deb.write_bytes(b"spoiled")
    assert fetch(found, SILENT).read_bytes() == package.read_bytes()
    assert sorted(p.name for p in deb.parent.iterdir()) == [deb.name]


def test_a_download_that_differs_from_apts_lists_is_refused(apt, package):
    (found,) = available([NAME])
    with pytest.raises(DataError, match="SHA-256"):
        fetch(found._replace(sha256="0" * 64), SILENT)
    assert list((apt / "cache" / "debs").iterdir()) == []


def test_a_failed_download_is_told_with_apts_reason(apt, package):
    (found,) = available([NAME])
    package.unlink()
    with pytest.raises(DataError, match=r"could not download minetest-data.*prepare synthetic"):
        fetch(found, SILENT)


def test_missing_lists_are_updated_once(apt, package):
    (apt / "debs" / "shown").rename(apt / "debs" / "new")
    assert [p.name for p in available([NAME])] == [NAME]
    assert (apt / "log").read_text().count("update") == 1
    available([NAME])
    assert (apt / "log").read_text().count("update") == 1


def test_packages_that_apt_does_not_know_are_left_out_with_a_warning(apt, package, caplog):
    assert [p.name for p in available(["no-such-package", NAME])] == [NAME]
    assert "no-such-package" in caplog.text


def test_an_apt_that_knows_nothing_is_told(apt):
    with pytest.raises(DataError, match=r"apt-get update.*prepare synthetic"):
        available([NAME])


def test_a_machine_without_apt_is_pointed_to_the_synthetic_corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"no apt here.*t2a prepare synthetic"):
        prepare("debian-sounds", str(tmp_path / "out"), progress=False)
    assert not (tmp_path / "out").exists()


SPOKEN, TEXT = "asterisk-core-sounds-en-wav", "asterisk-core-sounds-en"


@pytest.fixture
def prompts(apt):
    """The spoken package, and a way to write the text of the other."""
    folder = "usr/share/asterisk/sounds/en_US_f_Allison"
    spoken = {f"{folder}/{name}.wav": encode_wav(sound(1), 8000) for name in ("agent-user", "vm/next", "beep", "other")}
    deb = build(apt / "debs", SPOKEN, spoken)

    def written(text: str) -> None:
        beside = {f"usr/share/doc/{TEXT}/core-sounds-en.txt.gz": gzip.compress(text.encode())}
        show(apt, [deb, build(apt / "debs", TEXT, beside)])

    return written


def spoken_of(folder):
    [package] = [each for each in load_rules("debian_sounds").packages if each.name == SPOKEN]
    for found in available([SPOKEN, TEXT]):
        unpack(fetch(found, SILENT), folder)
    return {sound.captions[0] for sound in debian.sounds_of(package, {}, folder)}


def test_the_words_of_recorded_speech_are_its_captions(prompts, tmp_path):
    prompts("; Sounds\n\nagent-user: Agent login.  Please wait.\nvm/next: press 6 for the next\nbeep: [a beep]\n")
    says = "A woman says on the telephone:"
    expected = {f'{says} "Agent login.  Please wait".', f'{says} "press 6 for the next".'}
    assert spoken_of(tmp_path / "x") == expected


def test_a_text_without_words_is_told(prompts, tmp_path):
    prompts("nothing of that kind\n")
    with pytest.raises(DataError, match=f"{TEXT} has no words for {SPOKEN}.*rules need an update"):
        spoken_of(tmp_path / "x")
