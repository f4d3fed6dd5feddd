"""Debian packages as plain archives: fetched by apt, verified, cached, unpacked; nothing is installed."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress

from t2a.errors import DataError

log = logging.getLogger(__name__)
TOOLS = ("apt-get", "apt-cache", "dpkg-deb")
INSTEAD = "`t2a prepare synthetic` needs no packages"


class Available(NamedTuple):
    """A package as apt knows it; `size` in bytes."""

    name: str
    size: int
    sha256: str


def cache_folder() -> Path:
    return Path(os.environ.get("T2A_CACHE") or Path.home() / ".cache" / "t2a") / "debs"


def available(names: Sequence[str]) -> list[Available]:
    """Ask apt about packages, in the order given; those it does not know are warned about.

    Its lists are updated once when they lack any. Raises DataError when there is no apt, or none of them.
    """
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise DataError(f"There is no apt here ({', '.join(missing)} not found), so no Debian packages; {INSTEAD}.")
    known = _show(names)
    if len(known) < len(names):
        update = _run(["apt-get", "-q", "update"])
        known = _show(names)
        if not known:
            why = _last_line(update) or "it knows none of them"
            raise DataError(f"apt does not find the sound packages ({why}); run `apt-get update` as root; {INSTEAD}.")
    if unknown := [name for name in names if name not in known]:
        log.warning("apt does not know %s: going on without their sounds.", ", ".join(unknown))
    return [known[name] for name in names if name in known]


def fetch(package: Available, progress: Progress) -> Path:
    """Give the .deb of a package out of the cache or from the network, its SHA-256 checked either way."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    deb = cache / f"{package.name}_{package.sha256[:16]}.deb"
    if deb.exists() and _sha256(deb) == package.sha256:
        return deb
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as folder:
        _download(package, Path(folder), progress)
        found = list(Path(folder).glob("*.deb"))
        if len(found) != 1 or _sha256(found[0]) != package.sha256:
            raise DataError(
                f"apt brought a damaged {package.name} (wrong SHA-256); run `apt-get update` and try again."
            )
        found[0].replace(deb)
    return deb


def unpack(deb: Path, folder: Path) -> None:
    """Unpack the files of a package. Raises DataError when it is damaged or the disk is full."""
    done = _run(["dpkg-deb", "--extract", str(deb), str(folder)])
    if done.returncode:
        raise DataError(f"{deb} cannot be unpacked ({_last_line(done)}); remove it or free some space, and try again.")


def _show(names: Sequence[str]) -> dict[str, Available]:
    known = {}
    for stanza in _run(["apt-cache", "--no-all-versions", "show", *names]).stdout.split("\n\n"):
        pairs = (line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" "))
        fields = dict(pairs)
        if {"Package", "Size", "SHA256"} <= set(fields):
            known[fields["Package"]] = Available(fields["Package"], int(fields["Size"]), fields["SHA256"])
    return known


def _download(package: Available, folder: Path, progress: Progress) -> None:
    """Run apt-get, watching the file grow; its own output would disturb the bar."""
    # apt would change to its own user, who may not write here.
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download", package.name]
    task = progress.add_task(f"download {package.name}, MB", total=round(package.size / 1e6, 1))
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said, env=_environment())
        try:
            while process.poll() is None:
                progress.update(task, completed=round(sum(p.stat().st_size for p in folder.iterdir()) / 1e6, 1))
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()  # no effect on one that has ended
            process.wait()
            progress.remove_task(task)
        if process.returncode:
            said.seek(0)
            why = (said.read().strip().splitlines() or ["no reason given"])[-1]
            raise DataError(
                f"apt could not download {package.name} ({why}); try again (the rest is cached); {INSTEAD}."
            )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip().splitlines() or [""])[-1]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
