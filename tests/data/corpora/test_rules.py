import re

import pytest
import yaml

from t2a.data.corpora.rules import FOLDER, Package, describe, fill, load_rules, with_article
from t2a.errors import ConfigError

TABLES = {"past": {"open": "opened"}, "drum": {"sd": "snare drum"}}


@pytest.mark.parametrize(
    ("template", "words", "expected"),
    [
        ("A {0} door.", {"0": "glass"}, "A glass door."),
        ("{0|a} hoots.", {"0": "owl"}, "An owl hoots."),
        ("a lid is {0|past}.", {"0": "open"}, "A lid is opened."),
        ("It is {0|past}.", {"0": "oiled"}, "It is oiled."),
        ("A hit on {0|drum|a}.", {"0": "sd"}, "A hit on a snare drum."),
        ("{0|words} sound.", {"0": "e_piano02"}, "E piano sound."),
        ("{d}[ {how}] struck[, {how} again].", {"d": "a drum", "how": "hard"}, "A drum hard struck, hard again."),
        ("{d}[ {how}] struck[, {how} again].", {"d": "a drum", "how": ""}, "A drum struck."),
    ],
)
def test_templates_are_filled(template, words, expected):
    assert fill(template, words, TABLES) == expected


@pytest.mark.parametrize(("template", "missing"), [("{1}", "1"), ("{0|no}", "no"), ("[{1}]", "1")])
def test_a_slot_that_nothing_fills_is_an_error(template, missing):
    with pytest.raises(KeyError, match=missing):
        fill(template, {"0": "x"}, TABLES)


def test_articles():
    assert [with_article(n) for n in ("owl", "bell", "two bells", "a bell", "another")] == [
        "an owl", "a bell", "two bells", "a bell", "an another"
    ]  # fmt: skip


def package(**values):
    return Package(name="p", licence="MIT", **values)


def test_the_first_section_and_the_first_rule_decide():
    one = package(
        skip="/music/",
        sections=[
            {
                "where": "/bells/",
                "licence": "CC0",
                "rules": [["gong", "music", ["A gong."]], ["", "alerts", ["A bell."]]],
            },
            {"rules": [["(Dog|Cat)", "animals", ["{0|a} calls."]]]},
        ],
    )
    assert describe(one, {}, "bells/gong.wav") == (["A gong."], "music", "CC0")
    assert describe(one, {}, "bells/Dog.wav") == (["A bell."], "alerts", "CC0")
    assert describe(one, {}, "Dog.wav") == (["A dog calls."], "animals", "MIT")
    assert describe(one, {}, "dog.wav") is None
    assert describe(one, {}, "music/Dog.wav") is None


def test_rules_may_look_at_the_bare_name_and_words_at_the_path():
    section = {
        "key": "name",
        "words": {"how": [["hard", "hard"], ["soft", "softly"]]},
        "rules": [["^sd", "drums", ["{drum} is hit[ {how}]."], {"drum": "a snare"}]],
    }
    kit = package(sections=[section])
    assert describe(kit, {}, "kit/SD_soft.wav").captions == ["A snare is hit softly."]
    assert describe(kit, {}, "kit/sd.wav").captions == ["A snare is hit."]
    assert describe(kit, {}, "sd/kick.wav") is None


def test_a_wrong_rule_is_told_with_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr("t2a.data.corpora.rules.FOLDER", tmp_path)
    rules = {"tables": {}, "shared": {}, "packages": [
        {"name": "p", "licence": "x", "sections": [{"rules": [["(", "c", ["A."]], ["a", "c", []]]}]}]}  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(rules))
    with pytest.raises(ConfigError, match=r"(?s)rules\.0\.match.*rules\.1\.captions"):
        load_rules("mine")


def test_what_is_said_is_taken_from_the_transcripts_and_nothing_else_is_taken():
    transcripts = {"package": "q", "glob": "*.txt", "line": "(.*): (.*)"}
    one = package(transcripts=transcripts, sections=[{"rules": [[r"/(\w+)\.wav", "speech", ['A man says "{said}".']]]}])
    said = {"hello": "Hello there"}
    assert describe(one, {}, "usr/hello.wav", said) == (['A man says "Hello there".'], "speech", "MIT")
    assert describe(one, {}, "usr/beep.wav", said) is None


@pytest.fixture(scope="module")
def debian():
    return load_rules("debian_sounds")


def test_debians_rules_are_well_formed(debian):
    assert len(debian.packages) == 20
    assert sum(package.tier == "core" for package in debian.packages) == 15
    names = [package.name for package in debian.packages]
    assert len(set(names)) == len(names)
    assert all(package.licence for package in debian.packages)


def test_every_caption_of_debians_rules_is_a_sentence(debian):
    """Whatever the groups and words are: filled with each table's words, and with nothing."""
    seen = 0
    for package in debian.packages:
        for section in package.sections:
            choices = {name: ["", *(word for _, word in words)] for name, words in section.words.items()}
            for rule in section.rules:
                groups = {str(i): "ice" for i in range(rule.match.groups)}
                groups |= {"said": "Ice"} if package.transcripts else {}
                for turn in range(max([1, *map(len, choices.values())])):
                    words = groups | {name: c[turn % len(c)] for name, c in choices.items()} | rule.words
                    for caption in rule.captions:
                        text = fill(caption, words, debian.tables)
                        seen += 1
                        assert re.fullmatch(r"[A-Z0-9][^{}\[\]|]*[^ .]\.", text), (
                            package.name,
                            rule.match.pattern,
                            text,
                        )
                        assert "  " not in text, text
                        assert not re.search(r"\b(a a|an a|a an)\b", text), text
    assert seen > 800


def test_no_two_files_of_rules_are_forgotten():
    assert [path.name for path in sorted(FOLDER.glob("*.yaml"))] == ["debian_sounds.yaml"]


@pytest.mark.parametrize(
    ("name", "origin", "caption", "category"),
    [
        ("minetest-data", "usr/share/sounds/doors_door_close.ogg", "A wooden door is closed.", "doors"),
        ("hydrogen-data", "x/drumkits/GM/HiHat_Soft.wav", "A closed hi-hat is struck softly once.", "drums"),
        ("hydrogen-data", "drumkits/T/kick808.wav", "A bass drum from an 808 drum machine is struck once.", "drums"),
        ("lmms-common", "usr/lmms/samples/instruments/e_organ01.ogg", "A note on an electric organ.", "music"),
        ("lmms-common", "usr/lmms/samples/drums/clap01.ogg", "Hand claps.", "drums"),
        ("sonic-pi-samples", "usr/s/elec_hi_snare.flac", "An electronic high snare sound.", "effects"),
        ("sonic-pi-samples", "usr/s/drum_tom_lo_soft.flac", "A low tom is hit softly once.", "drums"),
        ("gcompris-qt-data", "instruments/horn.ogg", "A French horn plays a short phrase.", "music"),
        ("openttd-opensfx", "Level crossing", "Bells ring at a level crossing.", "vehicles"),
        ("wesnoth-1.16-data", "data/sounds/orc-small-hit-1.ogg", "A small orc grunts in pain.", "creatures"),
        ("wesnoth-1.16-data", "data/sounds/axe.ogg", "An axe strikes an enemy.", "weapons"),
    ],
)  # fmt: skip
def test_known_sounds_get_their_captions(debian, name, origin, caption, category):
    (package,) = [package for package in debian.packages if package.name == name]
    described = describe(package, debian.tables, origin)
    assert (described.captions[0], described.category) == (caption, category)


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("minetest-data", "usr/share/music/fire_small.ogg"),
        ("lmms-common", "usr/lmms/samples/shapes/moog.wav"),
        ("lmms-common", "usr/lmms/samples/misc/undefined01.ogg"),
        ("hydrogen-data", "usr/share/emptySample.wav"),
        ("openttd-opensfx", "Toyland: Fizzy drinks"),
    ],
)
def test_other_sounds_are_left_alone(debian, name, origin):
    (package,) = [package for package in debian.packages if package.name == name]
    assert describe(package, debian.tables, origin) is None
