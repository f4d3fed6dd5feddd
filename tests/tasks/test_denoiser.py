from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from t2a.audio.spectral import MelSpec
from t2a.config import validate
from t2a.errors import CheckpointError, ConfigError
from t2a.generate.latents import LatentEncoder
from t2a.generate.loading import load
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.denoiser import Denoiser
from t2a.models.kl1d import Kl1dConfig
from t2a.models.pretrained import WEIGHTS
from t2a.models.vocoder import Vocos, VocosConfig
from t2a.nn.condition import StoredCondition
from t2a.tasks.denoiser import DenoiserTask, DenoiserTaskConfig
from t2a.train.precision import cast_forward

MEL = MelSpec(n_fft=64, hop=16, n_mels=8, log="ln")
TEXT = {"width": 384, "dropout": 0.2}
MODEL = {
    "latent": [3], "max_frames": 12, "network": {"kind": "dit", "width": 32, "layers": 1, "heads": 2},
    "process": {"kind": "flow"}, "conditions": {"text": TEXT},
}  # fmt: skip


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("autoencoder")
    network = Kl1dConfig(latent=3, widths=(8, 8, 8), blocks=1)
    Autoencoder(AutoencoderConfig(mel=MEL, network=network)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vocoder(tmp_path_factory) -> Path:
    return a_vocoder(tmp_path_factory.mktemp("vocoder"), MEL)


def a_vocoder(folder: Path, mel: MelSpec) -> Path:
    Vocos(VocosConfig(mel=mel, width=8, hidden=16, layers=1)).save_pretrained(folder)
    return folder


def make(
    autoencoder: Path, vocoder: Path | None = None, encoders: dict | None = None, mask: dict | None = None, **changes
) -> DenoiserTask:
    recipe = {"kind": "denoiser", "autoencoder": str(autoencoder), "model": MODEL | changes, "mask": mask}
    recipe |= {"vocoder": str(vocoder)} if vocoder else {}
    recipe |= {"encoders": encoders} if encoders else {}
    return validate(DenoiserTaskConfig, recipe, "recipe").build()


@pytest.fixture(scope="module")
def task(autoencoder, vocoder) -> DenoiserTask:
    return make(autoencoder, vocoder)


def awake(task: DenoiserTask) -> dict:
    """The untrained network in evaluation mode, its layers that begin at zero not zero."""
    torch.manual_seed(0)
    net = task.networks()["denoiser"].eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return {"denoiser": net}


def a_batch(rows: int = 4, frames: int = 12) -> dict:
    """Latents that are all one number, which the caption names."""
    which = torch.arange(rows) % 2
    latents = (2.0 * which - 1)[:, None, None].expand(-1, 3, frames).clone()
    captions = ["a dog barks" if odd else "violins play" for odd in which]
    return {"latents": latents, "length": torch.full((rows,), frames), "captions": captions, "ids": ["x"] * rows}


def one_loss(task: DenoiserTask, nets: dict, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
    [(name, loss, logs)] = task.losses(nets, batch, 0)
    assert name == "denoiser"
    return loss, logs


def test_it_learns_what_the_caption_says(task):
    torch.manual_seed(0)
    nets = task.networks()
    batch, text = a_batch(8, frames=2), task.encoders.get("text")
    batch["states"] = {"text": StoredCondition(text(batch["captions"]), task.config.encoders["text"].fingerprint())}
    optimizer = torch.optim.AdamW(nets["denoiser"].parameters(), lr=3e-3)
    for _ in range(80):
        loss, logs = one_loss(task, nets, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not logs["loss/denoiser"].requires_grad
    values = task.evaluate({"denoiser": nets["denoiser"].eval()}, a_batch(frames=2))
    assert set(values) == {"loss", "loss_shuffled", "loss_null", "gap", "loss_1", "loss_2", "loss_3", "loss_4"}
    assert all(value.shape == (4,) for value in values.values())
    right, shuffled, null = (values[name].mean() for name in ("loss", "loss_shuffled", "loss_null"))
    assert right < 0.5 * null
    assert null < shuffled
    torch.testing.assert_close(values["loss"], sum(values[f"loss_{k}"] for k in range(1, 5)) / 4)
    torch.testing.assert_close(values["gap"], values["loss_shuffled"] - values["loss"])


def test_evaluation_is_the_same_every_time_and_leaves_the_global_generator_alone(task):
    nets, state = awake(task), torch.get_rng_state()
    first = task.evaluate(nets, a_batch())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(9)
    again = task.evaluate(nets, a_batch())
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_sound_is_trained_on_as_its_precomputed_latents_would_be(task, autoencoder):
    """Lengths of whole and of begun frames (a frame is 64 samples), alone and shared."""
    waves = [0.3 * torch.randn(1, samples) for samples in (640, 300, 640, 64, 1)]
    latents = [torch.from_numpy(found) for found in LatentEncoder(autoencoder)([wave.numpy() for wave in waves])]
    rest = {"captions": ["a", "b", "c", "d", "e"], "ids": ["x"] * 5}
    audio = {"audio": torch.zeros(5, 1, 640), "length": torch.tensor([wave.shape[1] for wave in waves]), **rest}
    stored = {"latents": torch.zeros(5, 3, 12), "length": torch.tensor([z.shape[-1] for z in latents]), **rest}
    for row, (wave, found) in enumerate(zip(waves, latents, strict=True)):
        audio["audio"][row, :, : wave.shape[1]] = wave
        audio["audio"][row, :, wave.shape[1] :] = 7.0  # nobody looks at it
        stored["latents"][row, :, : found.shape[-1]] = found
    nets = awake(task)
    expected, found = (task.evaluate(nets, batch) for batch in (stored, audio))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=1e-3)
    loss, _ = one_loss(task, nets, audio)
    loss.backward()
    assert all(p.grad is None for p in task.autoencoder.parameters())


def test_frames_past_the_length_are_neither_learnt_nor_attended_to(task):
    """A peer trains what pads a clip, or what is left of a damaged one, as a loud block with its caption."""
    nets, batch = awake(task), a_batch(2)
    batch["length"] = torch.tensor([7, 12])
    dirty = batch | {"latents": batch["latents"].clone()}
    dirty["latents"][0, :, 7:] = 100.0
    for name, value in task.evaluate(nets, batch).items():
        assert torch.equal(value, task.evaluate(nets, dirty)[name])
    losses = []
    for part in (batch, dirty):
        torch.manual_seed(1)
        losses.append(one_loss(task, nets, part)[0])
    assert torch.equal(*losses)


def test_a_row_s_value_does_not_depend_on_its_batch_mates(task):
    nets, batch = awake(task), a_batch(4)
    batch["length"] = torch.tensor([3, 12, 5, 9])
    first = {name: value[:1] for name, value in batch.items()} | {"latents": batch["latents"][:1, :, :3]}
    alone, together = task.evaluate(nets, first), task.evaluate(nets, batch)
    torch.testing.assert_close(alone["loss"], together["loss"][:1], atol=1e-5, rtol=1e-4)


def test_an_engine_in_bfloat16_tells_the_times_exactly_and_the_loss_is_float32(task):
    nets, seen = awake(task), []
    net = nets["denoiser"].bfloat16()
    net.network.time.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    cast_forward(net, "bf16", torch.device("cpu"))
    torch.manual_seed(0)
    loss, _ = one_loss(task, nets, a_batch())
    torch.manual_seed(0)
    expected = task.process.schedule.draw(4, None, torch.device("cpu"))
    torch.testing.assert_close(seen[0].float(), expected * 1000)
    assert loss.dtype == torch.float32
    loss.backward()


def test_it_learns_to_go_on_from_what_it_is_shown(autoencoder):
    """Each row is a number of its own, which only the frames that are shown tell."""
    task = make(autoencoder, mask={"gaps": 0.5, "all": 0.5}, extra_channels=4)
    torch.manual_seed(0)
    nets, random = task.networks(), torch.Generator().manual_seed(1)
    nets["denoiser"].train()
    optimizer = torch.optim.AdamW(nets["denoiser"].parameters(), lr=3e-3)

    def some(rows: int) -> dict:
        numbers = 2 * torch.randint(0, 2, (rows, 1, 1), generator=random).float() - 1
        return {"latents": numbers.expand(-1, 3, 8), "length": torch.full((rows,), 8), "captions": [""] * rows}

    for _ in range(120):
        loss, _ = one_loss(task, nets, some(16))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    values = task.evaluate({"denoiser": nets["denoiser"].eval()}, some(32))
    assert values["loss_filling"].mean() < 0.8 * values["loss"].mean()


def test_what_fills_a_row_up_is_not_shown_either(autoencoder):
    task = make(autoencoder, mask={}, extra_channels=4)
    nets, batch = awake(task), a_batch(4)
    batch["length"] = torch.tensor([3, 12, 5, 9])
    dirty = batch | {"latents": batch["latents"].clone()}
    dirty["latents"][0, :, 3:] = torch.nan
    clean, found = (task.evaluate(nets, part) for part in (batch, dirty))
    assert all(torch.equal(found[name], value) for name, value in clean.items())
    assert (clean["loss_filling"] != clean["loss"]).any()
    first = {name: value[:1] for name, value in batch.items()} | {"latents": batch["latents"][:1, :, :3]}
    alone = task.evaluate(nets, first)["loss_filling"]
    torch.testing.assert_close(alone, clean["loss_filling"][:1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mask": {}}, r"extra_channels is 0; with task.mask .* set task.model.extra_channels=4"),
        ({"extra_channels": 4}, r"extra_channels is 4; without task.mask .* set task.model.extra_channels=0"),
        ({"mask": {"boxes": 0.7, "gaps": 0.0}, "extra_channels": 4}, r"task.mask.boxes: latents of one dimension"),
        ({"mask": {"gaps": 0.5}, "extra_channels": 4}, r"gaps 0.5, boxes 0.0 and all 0.3 must add up to 1"),
    ],
)
def test_masks_that_do_not_fit_the_model_are_refused(autoencoder, changes, told):
    with pytest.raises(ConfigError, match=told):
        make(autoencoder, **changes)


def test_latents_of_another_shape_are_refused_before_any_work(autoencoder):
    with pytest.raises(ConfigError, match=r"task.model.latent is \[4\].*makes latents of \[3\]: set.*=\[3\]"):
        make(autoencoder, latent=[4])


def test_a_model_in_the_place_of_a_part_is_refused(autoencoder, vocoder):
    with pytest.raises(ConfigError, match=r"holds a vocos, not an autoencoder"):
        make(vocoder)
    with pytest.raises(ConfigError, match=r"holds a autoencoder, not a vocoder"):
        make(autoencoder, autoencoder)


@pytest.mark.parametrize(("change", "told"), [({"log": "log10"}, "log ln and log10"), ({"hop": 8}, "hop 16 and 8")])
def test_a_vocoder_of_other_spectrograms_is_refused_naming_both(autoencoder, tmp_path, change, told):
    """A peer takes the exponential of spectrograms in log10."""
    other = a_vocoder(tmp_path / "voice", MEL.model_copy(update=change))
    with pytest.raises(ConfigError, match=f"{autoencoder}.*{other}.*different spectrograms: {told}"):
        make(autoencoder, other)


def test_conditions_that_no_encoder_makes_are_refused(autoencoder):
    with pytest.raises(ConfigError, match=r"encoders for text, but the model's conditions are text, melody"):
        make(autoencoder, conditions={"text": TEXT, "melody": TEXT})


def test_latents_alone_have_no_melody(autoencoder):
    encoders = {"melody": {"kind": "chroma", "sample_rate": 16000, "window": 1024}, "text": {"kind": "minilm"}}
    task = make(autoencoder, encoders=encoders, conditions={"text": TEXT, "melody": {"width": 12}})
    with pytest.raises(ConfigError, match=r"encoders\.melody reads sounds, but the batches hold latents alone"):
        one_loss(task, task.networks(), a_batch())


def test_longer_batches_than_the_model_is_made_for_are_refused(task):
    with pytest.raises(ConfigError, match=r"13 frames of latents.*made for 12"):
        one_loss(task, task.networks(), a_batch(frames=13))


def test_the_exported_folder_is_all_that_generation_needs(task, autoencoder, vocoder, tmp_path):
    model, state = awake(task)["denoiser"], torch.get_rng_state()
    task.export({"denoiser": model.state_dict()}, tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), state)
    again = Denoiser.from_pretrained(tmp_path / "model")
    z = torch.randn(1, 3, 5)
    assert torch.equal(again(z, torch.tensor([0.5])), model(z, torch.tensor([0.5])))
    for part, source in (("autoencoder", autoencoder), ("vocoder", vocoder)):
        assert (tmp_path / "model" / part / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()
    (clip,) = load(tmp_path / "model").generate(["rain"], 0.03, seeds=[0], steps=2)
    assert clip.shape == (1, 480)


def test_a_denoiser_without_a_vocoder_is_exported_without_one(autoencoder, tmp_path):
    task = make(autoencoder)
    task.export({"denoiser": task.networks()["denoiser"].state_dict()}, tmp_path / "model")
    assert not (tmp_path / "model" / "vocoder").exists()


def test_weights_that_lack_a_tensor_are_not_loaded(task, tmp_path):
    """Peers load with strict=False, and what is missing stays as it was drawn."""
    task.export({"denoiser": task.networks()["denoiser"].state_dict()}, tmp_path / "model")
    tensors = safetensors.torch.load_file(tmp_path / "model" / WEIGHTS)
    tensors.pop("nulls.text")
    safetensors.torch.save_file(tensors, tmp_path / "model" / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"1 missing \(nulls.text\)"):
        Denoiser.from_pretrained(tmp_path / "model")
