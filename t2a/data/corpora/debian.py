"""Real sounds with captions: what Debian's games, desktops and music programs ship."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from t2a.audio.io import decode
from t2a.data.clips import Sound
from t2a.data.corpora.containers import READERS, folder_members
from t2a.data.corpora.packages import available, fetch, unpack
from t2a.data.corpora.request import Request
from t2a.data.corpora.rules import Package, Tables, Transcripts, describe, load_rules
from t2a.errors import DataError

PIECES = 4  # of one long recording


def sounds(request: Request, tier: str = "core") -> Iterator[Sound]:
    """Give the sounds of all packages of a tier ("full" includes "core"), downloading each when its turn comes."""
    rules = load_rules("debian_sounds")
    wanted = {package.name: package for package in rules.packages if tier == "full" or package.tier == "core"}
    for found in available(list(wanted)):
        deb = fetch(found, request.progress)
        with tempfile.TemporaryDirectory(prefix="t2a-deb-") as folder:
            unpack(deb, Path(folder))
            if beside := wanted[found.name].transcripts:
                for text in available([beside.package]):
                    unpack(fetch(text, request.progress), Path(folder))
            yield from sounds_of(wanted[found.name], rules.tables, Path(folder))


def sounds_of(package: Package, tables: Tables, root: Path) -> Iterator[Sound]:
    """Give the sounds of one unpacked package, their files read: `root` may go when the last is taken.

    The package that holds its transcripts, if there is one, is unpacked there too.
    """
    said = None if package.transcripts is None else _transcripts(package.name, package.transcripts, root)
    for label, data in _members(package, root):
        named = package.label.search(label) if package.label else None
        if package.label and not named:
            continue
        origin = named[1] if named else label
        described = describe(package, tables, origin, said)
        if described is None:
            continue
        licence = package.label_licence.search(label) if package.label_licence else None
        yield Sound(
            origin=origin,
            read=partial(decode, data),
            captions=described.captions,
            source=package.name,
            licence=licence[1] if licence else described.licence,
            trim=True,
            pieces=PIECES,
            extra={"category": described.category},
        )


def _transcripts(name: str, where: Transcripts, root: Path) -> dict[str, str]:
    """What is said in each of a package's sounds, as far as it is words."""
    path = next(iter(sorted(root.glob(where.glob))), None)
    text = "" if path is None else (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes()).decode()
    found = [where.line.fullmatch(line) for line in text.splitlines()]
    said = {each[1]: each[2].strip() for each in found if each}
    if not said:
        raise DataError(f"{where.package} has no words for {name} ({where.glob}) any more; its rules need an update.")
    return said


def _members(package: Package, root: Path) -> Iterator[tuple[str, bytes]]:
    if not package.archives:
        yield from folder_members(root)
    for archive in package.archives:
        path = next(iter(sorted(root.glob(archive.glob))), None)
        if path is None:
            raise DataError(f"The package {package.name} has no {archive.glob} any more; its rules need an update.")
        yield from READERS[archive.kind](path)
