import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from t2a.audio.spectral import MelSpec
from t2a.conditions.encoders import EncodersFile
from t2a.conditions.text import MiniLMConfig
from t2a.config import validate
from t2a.errors import ConfigError
from t2a.generate.codes import CodeEncoder
from t2a.generate.loading import load
from t2a.models.clap import Clap, ClapConfig
from t2a.models.codec import Codec, CodecConfig
from t2a.models.conv_tower import ConvTowerConfig
from t2a.models.lm import LM
from t2a.nn.condition import Condition
from t2a.nn.quantize import QuantizerConfig
from t2a.tasks.lm import LMTask, LMTaskConfig, cross_entropy

TEXT = {"width": 384, "fuse": ["prepend", "cross"], "dropout": 0.2}
MODEL = {
    "codebooks": 2, "bins": 16, "width": 32, "layers": 1, "heads": 2, "max_frames": 12, "conditions": {"text": TEXT}
}  # fmt: skip


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("codec")
    quantizer = QuantizerConfig(codebooks=2, bins=16)
    Codec(CodecConfig(filters=2, ratios=(4, 2), dimension=4, lstm_layers=0, quantizer=quantizer)).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def clap(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clap")
    tower = ConvTowerConfig(mel=MelSpec(n_fft=64, hop=16, n_mels=16, log="ln"), widths=(8,), blocks=1)
    Clap(ClapConfig(tower=tower, dimension=6)).save_pretrained(folder)
    EncodersFile(encoders={"text": MiniLMConfig()}).write(folder)
    return folder


def make(codec: Path, **changes) -> LMTask:
    recipe = {"kind": "lm", "codec": str(codec), "model": MODEL | changes}
    return validate(LMTaskConfig, recipe, "recipe").build()


@pytest.fixture(scope="module")
def task(codec) -> LMTask:
    return make(codec)


def a_batch(rows: int = 4, frames: int = 12) -> dict:
    """Codes that are all one number, which the caption names."""
    which = torch.arange(rows) % 2
    codes = (5 + 6 * which)[:, None, None].expand(-1, 2, frames).clone()
    captions = ["a dog barks" if odd else "violins play" for odd in which]
    return {"codes": codes, "length": torch.full((rows,), frames), "captions": captions, "ids": ["x"] * rows}


def one_loss(task: LMTask, nets: dict, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
    [(name, loss, logs)] = task.losses(nets, batch, 0)
    assert name == "lm"
    return loss, logs


def test_it_learns_what_the_caption_says(task):
    torch.manual_seed(0)
    nets = task.networks()
    optimizer = torch.optim.AdamW(nets["lm"].parameters(), lr=3e-3)
    for _ in range(40):
        loss, _ = one_loss(task, nets, a_batch(frames=2))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    values = task.evaluate({"lm": nets["lm"].eval()}, a_batch(frames=2))
    assert set(values) == {"ce", "ce_shuffled", "ce_null", "ce_1", "ce_2", "gap"}
    assert all(value.shape == (4,) for value in values.values())
    right, shuffled, null = (values[name].mean() for name in ("ce", "ce_shuffled", "ce_null"))
    assert right < 0.3 < null < shuffled
    torch.testing.assert_close(values["ce"], (values["ce_1"] + values["ce_2"]) / 2)
    torch.testing.assert_close(values["gap"], values["ce_shuffled"] - values["ce"])


def test_an_untrained_model_pays_about_the_log_of_the_bins_and_logs_every_codebook(task):
    torch.manual_seed(0)
    loss, logs = one_loss(task, task.networks(), a_batch())
    assert loss.item() == pytest.approx(math.log(16), abs=0.2)
    every = {"loss/ce_1", "loss/ce_2", "loss/perplexity_1", "loss/perplexity_2"}
    assert set(logs) == {"loss/ce", "loss/perplexity", *every}
    assert not any(value.requires_grad for value in logs.values())
    torch.testing.assert_close(logs["loss/perplexity"], loss.detach().exp())
    torch.testing.assert_close(logs["loss/perplexity_2"], logs["loss/ce_2"].exp())


def test_sound_is_trained_on_as_its_precomputed_codes_would_be(task, codec):
    """Lengths of whole and of begun frames (a frame is 8 samples), alone and shared."""
    waves = [0.3 * torch.randn(1, samples) for samples in (96, 50, 96, 8, 1)]
    codes = [torch.from_numpy(found.codes) for found in CodeEncoder(codec)([wave.numpy() for wave in waves])]
    rest = {"captions": ["a", "b", "c", "d", "e"], "ids": ["x"] * 5}
    audio = {"audio": torch.zeros(5, 1, 96), "length": torch.tensor([wave.shape[1] for wave in waves]), **rest}
    coded = {"codes": torch.zeros(5, 2, 12).long(), "length": torch.tensor([c.shape[1] for c in codes]), **rest}
    for row, (wave, found) in enumerate(zip(waves, codes, strict=True)):
        audio["audio"][row, :, : wave.shape[1]] = wave
        audio["audio"][row, :, wave.shape[1] :] = 7.0  # nobody looks at it
        coded["codes"][row, :, : found.shape[1]] = found
    torch.manual_seed(0)
    nets = {"lm": task.networks()["lm"].eval()}
    expected, found = (task.evaluate(nets, batch) for batch in (coded, audio))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    loss, _ = one_loss(task, nets, audio)
    loss.backward()
    assert all(p.grad is None for p in task.codec.parameters())


def test_the_channels_of_stereo_sound_are_coded_one_by_one(codec):
    task, wave = make(codec, codebooks=4, channels=2), torch.randn(1, 2, 96)
    nets = {"lm": task.networks()["lm"].eval()}
    left, right = (task.codec.encode(wave[:, [side]]) for side in (0, 1))
    codes = torch.stack([left[:, 0], right[:, 0], left[:, 1], right[:, 1]], dim=1)
    [stored] = CodeEncoder(codec, apart=2)([wave[0].numpy()])
    assert np.array_equal(stored.codes, codes[0].numpy())
    rest = {"captions": ["a dog barks"], "ids": ["x"]}
    coded, _ = one_loss(task, nets, {"codes": codes, "length": torch.tensor([12]), **rest})
    heard, _ = one_loss(task, nets, {"audio": wave, "length": torch.tensor([96]), **rest})
    assert coded.item() == pytest.approx(heard.item(), rel=1e-5)


def test_frames_past_the_length_change_nothing(task):
    torch.manual_seed(0)
    nets, batch = {"lm": task.networks()["lm"].eval()}, a_batch(2)
    batch["length"] = torch.tensor([7, 12])
    dirty = batch | {"codes": batch["codes"].clone()}
    dirty["codes"][0, :, 7:] = 3
    for name, value in task.evaluate(nets, batch).items():
        assert torch.equal(value, task.evaluate(nets, dirty)[name])


def test_the_loss_of_a_batch_is_the_mean_of_its_halves_whatever_their_lengths(task):
    nets, batch = {"lm": task.networks()["lm"].eval()}, a_batch(4)
    batch["length"] = torch.tensor([3, 12, 5, 9])
    halves = [{name: value[rows] for name, value in batch.items()} for rows in (slice(0, 2), slice(2, 4))]
    whole, first, second = (one_loss(task, nets, part)[0] for part in (batch, *halves))
    torch.testing.assert_close(whole, (first + second) / 2)


def test_cross_entropy_counts_the_valid_steps_only():
    logits, targets = torch.randn(2, 3, 5, 7), torch.randint(0, 7, (2, 3, 5))
    valid = torch.rand(2, 3, 5) > 0.4
    valid[0, 0] = False
    targets = targets.where(valid, 7)  # the special token, outside the predicted bins
    values = cross_entropy(logits, targets, valid)
    assert values[0, 0] == 0
    expected = torch.nn.functional.cross_entropy(logits[1, 2][valid[1, 2]], targets[1, 2][valid[1, 2]])
    torch.testing.assert_close(values[1, 2], expected)


def test_a_model_may_take_the_first_codebooks_of_a_codec_alone(codec):
    task, wave = make(codec, codebooks=1), torch.randn(1, 1, 96)
    first = task.codec.encode(wave)[:, :1]
    rest = {"captions": ["a dog barks"], "ids": ["x"]}
    nets = {"lm": task.networks()["lm"].eval()}  # drops no caption
    coded, _ = one_loss(task, nets, {"codes": first, "length": torch.tensor([12]), **rest})
    heard, _ = one_loss(task, nets, {"audio": wave, "length": torch.tensor([96]), **rest})
    assert coded.item() == pytest.approx(heard.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"codebooks": 4}, "codebooks is 4.*has 2 codebooks:"),
        ({"bins": 8}, "bins is 8.*has 16"),
        ({"channels": 2}, "codebooks is 2.*has 4 codebooks for 2 channels"),
    ],
)
def test_a_codec_that_does_not_fit_is_refused_before_any_work(codec, changes, told):
    with pytest.raises(ConfigError, match=told):
        make(codec, **changes)


def test_a_model_in_the_place_of_the_codec_is_refused(task, tmp_path):
    task.export({"lm": task.networks()["lm"].state_dict()}, tmp_path / "lm")
    with pytest.raises(ConfigError, match="holds a lm, not a codec"):
        make(tmp_path / "lm")


def test_a_condition_width_that_is_not_the_encoder_s_is_told(codec):
    with pytest.raises(ConfigError, match=r"conditions.text.width is 10.*384"):
        one_loss(task := make(codec, conditions={"text": TEXT | {"width": 10}}), task.networks(), a_batch())


def test_conditions_that_no_encoder_makes_are_refused(codec):
    with pytest.raises(ConfigError, match=r"encoders for text, but the model's conditions are text, melody"):
        make(codec, conditions={"text": TEXT, "melody": TEXT})


MELODY = {"kind": "chroma", "sample_rate": 16000, "window": 1024}


def with_melody(codec: Path) -> LMTask:
    model = MODEL | {"conditions": {"melody": {"width": 12, "fuse": ["prepend"], "dropout": 0.0}, "text": TEXT}}
    encoders = {"melody": MELODY, "text": {"kind": "minilm"}}
    recipe = {"kind": "lm", "codec": str(codec), "model": model, "encoders": encoders}
    return validate(LMTaskConfig, recipe, "recipe").build()


def test_a_melody_is_read_from_the_row_s_sound_and_stays_when_captions_are_shuffled(codec):
    task, told = with_melody(codec), []
    model = task.networks()["lm"].eval()
    batch = a_batch(2)
    batch |= {"audio": torch.randn(2, 1, 12 * 8), "length": torch.tensor([12, 12])}

    def spied(codes, conditions):
        told.append(conditions)
        return model(codes, conditions)

    task.evaluate({"lm": spied}, batch)
    own, shuffled, without = told
    assert torch.equal(own["text"].tokens.flip(0), shuffled["text"].tokens)
    assert own["melody"] is shuffled["melody"] is without["melody"]
    assert own["melody"].tokens.shape == (2, 1, 12)
    assert "text" not in without


def test_codes_alone_have_no_melody(codec):
    with pytest.raises(ConfigError, match=r"encoders\.melody reads sounds, but the batches hold codes alone"):
        one_loss(task := with_melody(codec), task.networks(), a_batch())


def test_longer_batches_than_the_model_is_made_for_are_refused(task):
    with pytest.raises(ConfigError, match=r"13 frames.*made for 12"):
        one_loss(task, task.networks(), a_batch(frames=13))


def test_the_exported_folder_is_all_that_generation_needs(task, codec, tmp_path, monkeypatch):
    torch.manual_seed(3)
    model = task.networks()["lm"].eval()
    state = torch.get_rng_state()
    task.export({"lm": model.state_dict()}, tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), state)
    generator = load(tmp_path / "model")
    again = LM.from_pretrained(tmp_path / "model")
    codes, condition = torch.randint(0, 16, (1, 2, 3)), Condition(torch.randn(1, 2, 384), torch.ones(1, 2).bool())
    assert torch.equal(again(codes, {"text": condition}), model(codes, {"text": condition}))
    assert generator.sample_rate == 16000
    assert (tmp_path / "model" / "codec" / "model.safetensors").read_bytes() == (
        codec / "model.safetensors"
    ).read_bytes()


def test_a_codec_whose_codes_do_not_tell_the_loudness_is_refused(codec, tmp_path):
    Codec(Codec.from_pretrained(codec).config.model_copy(update={"normalise": True})).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"normalises the loudness.*`normalise: false`"):
        make(tmp_path)


def test_a_model_trained_on_the_vectors_of_sounds_is_told_by_captions(codec, clap, tmp_path):
    sizes = MODEL | {"conditions": {"text": {"width": 6, "fuse": ["cross"], "dropout": 0.1}}}
    encoders = {"text": {"kind": "clap_audio", "name": str(clap), "told_by": "captions"}}
    recipe = {"kind": "lm", "codec": str(codec), "model": sizes, "encoders": encoders}
    task = validate(LMTaskConfig, recipe, "recipe").build()
    nets = task.networks()
    sound = {"audio": 0.3 * torch.randn(2, 1, 96), "length": torch.tensor([96, 64])}
    loss, _ = one_loss(task, nets, sound | {"captions": ["", ""], "ids": ["x"] * 2})
    assert loss.isfinite()
    task.export({"lm": nets["lm"].state_dict()}, tmp_path / "lm")
    generator = load(tmp_path / "lm")
    assert generator.encoders.reads == {"captions"}
    one, other = (generator.generate([prompt], 0.005, seeds=[1], guidance=20.0)[0] for prompt in ("a dog", "rain"))
    assert one.shape == (1, 80)
    assert not torch.equal(torch.from_numpy(one), torch.from_numpy(other))
