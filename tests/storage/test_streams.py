"""Files read and written in pieces, locally and on S3."""

import pytest

from t2a import storage
from t2a.errors import StorageError


def test_what_is_written_in_pieces_appears_whole_and_is_read_from_anywhere(place):
    uri = storage.join(place, "file.bin")
    with storage.writing(uri) as file:
        file.write(b"0123" * 1000)
        file.seek(0)
        file.write(b"ABCD")
        assert not storage.exists(uri)
    assert storage.read_bytes(uri) == b"ABCD" + b"0123" * 999
    with storage.reading(uri) as file:
        assert file.seek(-2, 2) == 3998
        assert file.read() == b"23"
        file.seek(2)
        assert file.read(4) == b"CD01"


def test_a_failure_while_writing_keeps_what_was_there(place):
    uri = storage.join(place, "file.bin")
    storage.write_bytes(uri, b"old")

    def broken() -> None:
        with storage.writing(uri) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert storage.read_bytes(uri) == b"old"
    assert set(storage.files(place)) == {"file.bin"}


def test_a_missing_file_is_told(place):
    with pytest.raises(StorageError, match=r"nowhere\.bin: no such file"), storage.reading(f"{place}/nowhere.bin"):
        pass


def test_a_name_without_a_folder_lies_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with storage.writing("here.bin") as file:
        file.write(b"x")
    assert (tmp_path / "here.bin").read_bytes() == b"x"
