import shutil

import pytest

from t2a.data.corpora.packages import available, cache_folder, fetch, unpack
from t2a.errors import DataError
from tests.data.corpora.debs import NAME, SILENT, build, show

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")


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


def test_packages_come_in_the_order_asked_for_whatever_apt_s_is(apt):
    debs = [build(apt / "debs", name, {"usr/a": b"1"}) for name in ("one", "two", "three")]
    show(apt, debs)
    found = available(["three", "one"])
    assert [package.name for package in found] == ["three", "one"]
    assert [package.size for package in found] == [debs[2].stat().st_size, debs[0].stat().st_size]


def test_files_are_unpacked_where_they_lie_in_the_package(apt, package, tmp_path):
    unpack(package, tmp_path / "x")
    assert (tmp_path / "x" / "usr/share/doc/copyright").read_bytes() == b"free"


def test_a_damaged_package_is_told(apt, package, tmp_path):
    package.write_bytes(package.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"{package.name} cannot be unpacked \(.+\); remove it or free some space"):
        unpack(package, tmp_path / "x")


def test_packages_are_kept_in_the_cache_of_t2a(monkeypatch, tmp_path):
    monkeypatch.setenv("T2A_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "debs"
    monkeypatch.delenv("T2A_CACHE")
    monkeypatch.setenv("HOME", "/home/of-one")
    assert str(cache_folder()) == "/home/of-one/.cache/t2a/debs"
