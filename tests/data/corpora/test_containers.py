import struct
import zipfile
import zlib

import pytest

from t2a.data.corpora.containers import cat_members, folder_members, rcc_members, zip_members


def test_a_zip_gives_its_sounds_in_order(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pk3", "w") as archive:
        for name in ("b/z.WAV", "b/a.ogg", "map.txt"):
            archive.writestr(name, name.encode())
    assert list(zip_members(tmp_path / "x.pk3")) == [("b/a.ogg", b"b/a.ogg"), ("b/z.WAV", b"b/z.WAV")]


def resource(files, version):
    """A Qt resource: the root, one folder, and files as (name, content, compressed)."""
    names, contents, tree = b"", b"", b""

    def add_name(name):
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        return at

    stamp = b"" if version == 1 else bytes(8)
    tree += struct.pack(">IHII", 0, 2, 1, 1) + stamp
    tree += struct.pack(">IHII", add_name("sounds"), 2, len(files), 2) + stamp
    for name, content, compressed in files:
        data = struct.pack(">I", len(content)) + zlib.compress(content) if compressed else content
        tree += struct.pack(">IHHHI", add_name(name), int(compressed), 0, 1, len(contents)) + stamp
        contents += struct.pack(">I", len(data)) + data
    head = 20
    return (
        struct.pack(">4sIIII", b"qres", version, head, head + len(tree), head + len(tree) + len(contents))
        + tree + contents + names
    )  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
def test_a_qt_resource_gives_its_sounds(tmp_path, version):
    files = [("dög.ogg", b"woof" * 9, True), ("cat.wav", b"meow", False), ("picture.png", b"no", False)]
    (tmp_path / "farm.rcc").write_bytes(resource(files, version))
    assert list(rcc_members(tmp_path / "farm.rcc")) == [("farm/dög.ogg", b"woof" * 9), ("farm/cat.wav", b"meow")]


def test_what_is_no_qt_resource_is_told(tmp_path):
    (tmp_path / "x.rcc").write_bytes(b"PK" + bytes(30))
    with pytest.raises(ValueError, match=r"x\.rcc"):
        list(rcc_members(tmp_path / "x.rcc"))


def test_a_sound_set_gives_its_sounds_with_labels(tmp_path):
    sounds = [(b'"Wind". License: CC0\0', b"whoosh"), (b'"Cow"\0', b"moo")]
    table, body = b"", b""
    for label, wav in sounds:
        table += struct.pack("<II", (16 + len(body)) | 0x80000000, len(wav))
        body += bytes([len(label)]) + label + wav + b"\0"
    (tmp_path / "x.cat").write_bytes(table + body)
    assert list(cat_members(tmp_path / "x.cat")) == [('"Wind". License: CC0', b"whoosh"), ('"Cow"', b"moo")]


def test_a_folder_gives_its_sounds_folder_by_folder(tmp_path):
    for name in ("b.wav", "a/z.ogg", "a/y.FLAC", "a/readme", "a-b/x.oga"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert [name for name, _ in folder_members(tmp_path)] == ["b.wav", "a/y.FLAC", "a/z.ogg", "a-b/x.oga"]
