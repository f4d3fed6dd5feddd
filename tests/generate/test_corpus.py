import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray

from t2a import storage
from t2a.audio.io import decode
from t2a.conditions.encoders import EncodersFile
from t2a.conditions.text import MiniLMConfig
from t2a.data.shards import MANIFEST, read_rows
from t2a.errors import ConfigError
from t2a.generate import corpus
from t2a.generate.corpus import ClipMaker, generate_corpus
from t2a.generate.loading import load
from t2a.models.denoiser import ConditionConfig
from tests.generate.tiny import FRAME, RATE, build, build_diffusion

JOB = Path(__file__).parents[2] / "jobs" / "generate.py"
SECONDS = 10 * FRAME / RATE


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "denoiser"
    generator = build_diffusion(conditions={"text": ConditionConfig(width=384)})
    generator.model.save_pretrained(folder)
    generator.autoencoder.save_pretrained(folder / "autoencoder")
    generator.vocoder.save_pretrained(folder / "vocoder")
    EncodersFile(encoders={"text": MiniLMConfig()}).write(folder)
    return str(folder)


@pytest.mark.parametrize(("kind", "settings"), [(build, {"top_k": 5}), (build_diffusion, {"steps": 2})])
def test_a_clip_does_not_depend_on_how_many_are_made_together(monkeypatch, kind, settings):
    generator = kind()
    monkeypatch.setattr(corpus, "load", lambda *_: generator)
    how = {"guidance": 2.0, "settings": settings, "device": "cpu", "precision": "float32"}
    captions, seeds = ["rain", "wind", "a dog"], [7, 8, 9]
    pairs, one_by_one = (ClipMaker("m", 0.01, at_once=n, **how)(captions, seeds) for n in (2, 1))
    expected = generator.generate(captions, 0.01, seeds=seeds, guidance=2.0, **settings)
    for row in range(3):
        np.testing.assert_allclose(pairs[row], expected[row], atol=1e-5)
        np.testing.assert_allclose(one_by_one[row], expected[row], atol=1e-5)


def test_what_is_wrong_with_a_job_is_told_before_anything_is_started(model, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "produce", lambda *_, **__: pytest.fail("started"))
    (tmp_path / "a.txt").write_text("rain\n")
    with pytest.raises(ConfigError, match="A diffusion model has no setting top_k"):
        generate_corpus(model, str(tmp_path / "a.txt"), str(tmp_path / "out"), settings={"top_k": 3})
    with pytest.raises(ConfigError, match="holds a autoencoder, which cannot generate"):
        generate_corpus(f"{model}/autoencoder", str(tmp_path / "a.txt"), str(tmp_path / "out"))
    for wrong, told in (
        ({"at_once": 0}, "A batch of 0 clips makes none"),
        ({"part_rows": -1}, "A part of -1 clips makes none"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"seed": -1}, "The seed -1 does not lie between"),
        ({"seconds": 60.0}, "A clip of 60 s is longer than the .* that this model was trained on"),
        ({"seconds": 1e-5}, "1e-05 s is less than one sample"),
        ({"settings": {"sampler": "plmss"}}, "plmss"),
    ):
        with pytest.raises(ConfigError, match=told):
            generate_corpus(model, str(tmp_path / "a.txt"), str(tmp_path / "out"), **{"seconds": SECONDS} | wrong)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_a_job_tells_of_actors_that_cannot_be_in_one_sentence(model, tmp_path):
    (tmp_path / "a.txt").write_text("rain\n")
    command = [sys.executable, str(JOB), model, str(tmp_path / "a.txt"), str(tmp_path / "out"), "--actors=0"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "the actors: 1 error" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = f"/tmp/t2a-ray-{tmp_path_factory.getbasetemp().name}-g"  # short: sockets lie in it
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.mark.ray
def test_a_job_that_is_killed_goes_on_where_it_was(cluster, model, tmp_path):
    captions, out = tmp_path / "captions.txt", tmp_path / "out"
    captions.write_text("".join(f"sound {i}\n" for i in range(6)))
    options = ["--seconds", str(SECONDS), "--guidance", "0", "--seed", "5", "--part", "2", "steps=300"]
    command = [sys.executable, str(JOB), model, str(captions), str(out), *options]
    environment = os.environ | {"RAY_ADDRESS": cluster}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as job:
        assert job.stdout.readline() == "2/6 clips\n"
        job.kill()
    assert not (out / MANIFEST).exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("part-*/*") if (path.parent / MANIFEST).exists()}
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == f"{out}: 6 clips, 0 s; skipped: none"
    assert len(kept) >= 2
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    generator = load(model)
    for row in read_rows(str(out), "test"):
        (expected,) = generator.generate([""], SECONDS, seeds=[row["seed"]], guidance=0.0, steps=300)
        np.testing.assert_allclose(decode(row["audio"]["bytes"])[0], expected, atol=1e-3)
    assert [row["seed"] for row in read_rows(str(out), "test")] == [5, 6, 7, 8, 9, 10]
    assert len(storage.folders(str(out))) == 3
    told = subprocess.run([*command[:-1], "steps"], capture_output=True, text=True, env=environment, check=False)
    assert (told.returncode, told.stderr) == (2, "'steps': a setting has the form key=value\n")
