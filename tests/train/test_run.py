import json
from pathlib import Path

import pytest
import torch

from t2a.config import dump, load, validate
from t2a.errors import ConfigError
from t2a.models.codec import Codec
from t2a.models.denoiser import Denoiser
from t2a.models.lm import LM
from t2a.tasks.denoiser import DenoiserTaskConfig
from t2a.tasks.lm import LMTaskConfig
from t2a.train.fit import absolute
from t2a.train.run import Run
from tests.train.small import codec_run, denoiser_run, lm_run, untrained_codec

RECIPES = Path(__file__).parents[2] / "jobs" / "recipes"
SMALL = sorted(path.stem for path in RECIPES.glob("*-small.yaml") if "codec" in path.stem)


def codec_of(recipe: str) -> Codec:
    """The full-size codec of a recipe, without memory for its weights."""
    with torch.device("meta"):
        return Codec(load(Run, RECIPES / f"{recipe}.yaml").task.model)


@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_every_recipe_is_a_run_of_its_name(recipe, tmp_path) -> None:
    # One leaves the sizes to its codec, which must then be there.
    codec = [f"task.codec={untrained_codec(tmp_path)}"] if recipe == "lm-streams-small" else []
    run = load(Run, RECIPES / f"{recipe}.yaml", codec)
    assert run.name == recipe
    if isinstance(run.task, LMTaskConfig | DenoiserTaskConfig):
        assert run.task.encoders.keys() == run.task.model.conditions.keys()
    if isinstance(run.task, DenoiserTaskConfig):
        assert run.engine.ema > 0.99  # what noise at every time does to single steps is averaged out
    assert validate(Run, json.loads(json.dumps(run.model_dump(mode="json"))), recipe) == run


@pytest.mark.parametrize(
    ("recipe", "parameters", "frames", "bits"),
    [
        ("encodec-24khz", 14_851_810, 75, 24_000),
        ("encodec-48khz", 14_856_294, 150, 24_000),
        ("codec-16khz", 56_819_138, 50, 2_200),
        ("codec-32khz", 56_884_674, 50, 2_200),
    ],
)
def test_recipes_have_the_published_sizes_and_rates(recipe, parameters, frames, bits) -> None:
    codec = codec_of(recipe)
    assert sum(p.numel() for p in codec.parameters()) == parameters
    assert (codec.frame_rate, codec.bit_rate) == (frames, bits)


@pytest.mark.parametrize(("recipe", "t5", "published"), [("base", 109.6e6, 285e6), ("large", 334.9e6, 1e9)])
def test_audiogens_have_the_published_sizes(recipe, t5, published) -> None:
    # The paper's figures hold T5's encoder and leave the cross-attention out.
    config = load(Run, RECIPES / f"audiogen-{recipe}.yaml").task.model
    text = config.conditions["text"].model_copy(update={"fuse": ("prepend",)})
    with torch.device("meta"):
        model = LM(config.model_copy(update={"conditions": {"text": text}}))
    assert (sum(p.numel() for p in model.parameters()) + t5) / published == pytest.approx(1, abs=0.06)


def test_make_an_audio_has_the_published_size() -> None:
    with torch.device("meta"):
        model = Denoiser(load(Run, RECIPES / "make-an-audio.yaml").task.model)
    assert sum(p.numel() for p in model.network.parameters()) == 160_223_684


@pytest.mark.parametrize("streams", [1, 2, 4, 8])
def test_every_number_of_streams_has_500_codes_a_second_of_2048_vectors(streams) -> None:
    codec = codec_of(f"codec-k{streams}")
    assert codec.hop == 32 * streams
    assert (codec.codebooks * codec.frame_rate, codec.codebooks * codec.bins) == (500, 2048)
    assert codec.bit_rate == {1: 5500, 2: 5000, 4: 4500, 8: 4000}[streams]


def test_a_vocoder_takes_sound_of_the_rate_of_its_spectrograms() -> None:
    with pytest.raises(ConfigError, match=r"data\.sample_rate is 8000, but task\.model\.sample_rate is 16000"):
        load(Run, RECIPES / "vocos-small.yaml", ["data.sample_rate=8000"])


@pytest.mark.parametrize("recipe", SMALL)
def test_every_small_codec_takes_a_step(recipe) -> None:
    task = load(Run, RECIPES / f"{recipe}.yaml", ["task.model.quantizer.kmeans_steps=1"]).task
    torch.manual_seed(0)
    nets = (built := task.build()).networks()
    wave = 0.1 * torch.randn(2, task.model.channels, 6400)
    step = built.losses(nets, {"audio": wave}, task.critic_start)
    for _, loss, logs in step:
        loss.backward()
        assert all(value.isfinite() for value in logs.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for net in nets.values() for p in net.parameters())


def test_it_survives_json_and_yaml() -> None:
    import yaml

    run = codec_run("out", "corpus")
    assert validate(Run, json.loads(json.dumps(run.model_dump(mode="json"))), "test") == run
    assert validate(Run, yaml.safe_load(dump(run)), "test") == run


def test_a_batch_that_does_not_divide_is_refused_with_one_that_does() -> None:
    with pytest.raises(ConfigError, match=r"batch_size 8 is not divisible .* = 2 x 3; take 12 or 6"):
        codec_run("out", "corpus", engine={"accumulate": 3})


def test_several_plain_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"engine.kind plain has one worker, not 2"):
        codec_run("out", "corpus", engine={"kind": "plain"})


def test_a_task_is_not_trained_on_what_it_cannot_read() -> None:
    codes = {"kind": "codes", "uri": "x", "codebooks": 2, "crop_frames": 4}
    with pytest.raises(ConfigError, match=r"task codec is trained on audio, but data.kind is codes"):
        codec_run("out", "corpus", data=codes)
    latents = {"kind": "latents", "uri": "x", "latent": [4], "crop_frames": 4}
    with pytest.raises(ConfigError, match=r"data.latent is \(4,\), but task.model.latent is \(3,\)"):
        denoiser_run("out", "corpus", "autoencoder", data=latents)
    with pytest.raises(ConfigError, match=r"data.codebooks is 4, but task.model.codebooks is 2"):
        lm_run("out", "corpus", "codec", {"kind": "minilm"}, data=codes | {"codebooks": 4})


def test_every_wrong_network_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        codec_run("out", "corpus", optim={"codec": {"lr": 1e-3}, "critc": {"lr": 1e-3}})
    assert "optim.critic is missing" in str(told.value)
    assert "optim.critc: the task has no network of this name (did you mean critic?)" in str(told.value)


@pytest.mark.parametrize("critic", [True, False])
def test_the_networks_of_a_task_are_known_before_it_is_built(critic: bool, tmp_path) -> None:
    codec = codec_run("out", "corpus")
    if not critic:
        task = codec.task.model_dump() | {"critic": None, "weights": {"adv": 0, "feat": 0}}
        codec = codec_run("out", "corpus", task=task, optim={"codec": {}})
    lm = lm_run("out", "corpus", untrained_codec(tmp_path / "codec"), {"kind": "minilm"})
    for task in (codec.task, lm.task):
        assert list(task.networks) == list(task.build().networks())


def test_a_name_that_is_no_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="name"):
        codec_run("out", "corpus", name="../elsewhere")


def test_local_paths_become_absolute_for_the_workers(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = absolute(lm_run("out", "s3://bucket/corpus", "codec", {"kind": "minilm"}))
    assert run.folder == str(tmp_path / "out" / "lm")
    assert (run.data.uri, run.task.codec) == ("s3://bucket/corpus", str(tmp_path / "codec"))
    task = absolute(denoiser_run("out", "corpus", "autoencoder")).task
    assert (task.autoencoder, task.vocoder) == (str(tmp_path / "autoencoder"), None)
    assert absolute(run.model_copy(update={"out": "file:///x"})).out == "file:///x"
