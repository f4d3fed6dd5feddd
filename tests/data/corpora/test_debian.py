"""With a package built on the spot and stand-ins for apt's tools, which would need the network."""

import gzip
import shutil

import pytest

from t2a.audio.io import encode_wav
from t2a.data.corpora import debian
from t2a.data.corpora.packages import available, fetch, unpack
from t2a.data.corpora.rules import load_rules
from t2a.data.prepare import prepare
from t2a.data.shards import read_rows
from t2a.errors import DataError
from tests.data.corpora.debs import NAME, SILENT, build, show, sound

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")


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
