"""Debian packages built on the spot, as an apt of a test's own knows them."""

import hashlib
import subprocess

import numpy as np
from rich.progress import Progress

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


def show(folder, debs, file="shown"):
    stanzas = [
        f"Package: {deb.name.split('_')[0]}\nVersion: 1\nSize: {deb.stat().st_size}\n"
        f"SHA256: {hashlib.sha256(deb.read_bytes()).hexdigest()}\nDescription: sounds\n Size: of no matter\n"
        for deb in debs
    ]
    (folder / "debs" / file).write_text("\n".join(stanzas))
