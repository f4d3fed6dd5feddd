"""The house rules that import-linter cannot express: third-party fences and a light `import t2a`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "t2a"

FENCES = {
    "ray.data": ["t2a/data/"],
    "ray.train": ["t2a/train/"],
    "ray.tune": ["t2a/tune/"],
    "ray.serve": ["t2a/serve/"],
    "deepspeed": ["t2a/train/engine.py"],
    "mlflow": ["t2a/train/track.py", "t2a/registry.py"],
    "transformers": ["t2a/conditions/", "t2a/interop/"],
    "torchaudio": ["t2a/audio/torchaudio_backend.py"],
    "boto3": [],
    "s3fs": ["t2a/storage/"],
}


def imported_names(source: str) -> set[str]:
    """Every dotted name that a module's import statements reach, wherever they stand."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("library", FENCES)
def test_a_library_is_imported_only_in_its_own_room(library):
    outside = []
    for path in sorted([*PACKAGE.rglob("*.py"), *(ROOT / "jobs").glob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        reached = {n for n in imported_names(path.read_text()) if n == library or n.startswith(library + ".")}
        if reached and not any(name.startswith(room) for room in FENCES[library]):
            outside.append(name)
    assert not outside, f"{library} belongs to {FENCES[library]}, but is imported in {outside}"


def test_imported_names_sees_every_form():
    source = "import ray.data as d\nfrom ray import serve\ndef f():\n    from ray.train.torch import TorchTrainer\n"
    assert {"ray.data", "ray.serve", "ray.train.torch"} <= imported_names(source)


def test_import_t2a_is_light():
    code = "import sys, time; s = time.perf_counter(); import t2a; e = time.perf_counter() - s; "
    code += "print(e, 'torch' in sys.modules, 'ray' in sys.modules)"
    runs = [subprocess.check_output([sys.executable, "-c", code], text=True).split() for _ in range(3)]
    assert min(float(seconds) for seconds, *_ in runs) < 0.2
    assert all(rest == ["False", "False"] for _, *rest in runs)


def test_help_of_the_command_line_imports_no_torch():
    code = "import sys, t2a.cli; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_jobs_are_short_entry_points():
    long = {p.name: n for p in (ROOT / "jobs").glob("*.py") if (n := len(p.read_text().splitlines())) > 60}
    assert not long


def test_no_room_is_named_after_nothing():
    assert not [p for p in PACKAGE.rglob("*.py") if p.stem in {"utils", "helpers", "common", "misc"}]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")
def test_what_commands_of_the_readme_leave_here_is_not_sent_with_a_job():
    left = ["corpus/_manifest.json", "codes/_manifest.json", "latents/_manifest.json", "runs/lm-small/run.json"]
    left += ["dog.wav", "codec.html", ".venv/bin/python", "demo/report.html"]
    found = subprocess.run(
        ["git", "check-ignore", "--no-index", *left], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.stdout.split() == left
