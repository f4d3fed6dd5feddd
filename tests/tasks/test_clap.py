import pytest
import torch

from t2a.conditions.encoders import EncodersFile
from t2a.config import validate
from t2a.errors import ConfigError
from t2a.models.clap import Clap
from t2a.models.mel_frames import MelFrames
from t2a.tasks.clap import ClapTask, ClapTaskConfig, numbered
from t2a.train.precision import cast_forward

MEL = {"n_fft": 256, "hop": 128, "n_mels": 16, "log": "ln"}
TOWER = {"kind": "conv", "mel": MEL, "widths": [8, 16], "blocks": 1, "dropout": 0.0}
MODEL = {"tower": TOWER, "dimension": 16, "dropout": 0.0}
WORDS = ["a low hum", "a high whistle", "A low hum ", "a hiss"]
SAID = [["a low hum"], ["a high whistle"], ["a low hum", "a tone"], ["a hiss"]]


def make(text: dict | None = None, **changes) -> ClapTask:
    recipe = {"kind": "clap", "model": MODEL | changes, "text": text or {"kind": "minilm"}}
    return validate(ClapTaskConfig, recipe, "recipe").build()


def a_batch(seed: int) -> dict:
    """A low tone, a high one, a low one again, and noise, each at a phase of its own."""
    draw = torch.Generator().manual_seed(seed)
    t = torch.arange(4000) / 16000
    tones = [torch.sin(2 * torch.pi * (f * t + torch.rand((), generator=draw))) for f in (200, 3000, 220)]
    wave = 0.5 * torch.stack([*tones, 0.3 * torch.randn(4000, generator=draw)])[:, None]
    return {"audio": wave, "length": torch.full((4,), 4000), "captions": WORDS, "said": SAID, "ids": list("abcd"),
            "weight": torch.ones(4)}  # fmt: skip


@pytest.mark.parametrize("text", [{"kind": "minilm"}, {"kind": "bytes", "max_bytes": 16}])
def test_it_learns_which_caption_belongs_to_which_sound_and_exports(text, tmp_path):
    torch.manual_seed(0)
    reading = {"text_width": 256, "text_layers": {"width": 32, "layers": 1, "heads": 2, "dropout": 0}}
    task = make(text, **(reading if text["kind"] == "bytes" else {}))
    nets = task.networks()
    optimizer = torch.optim.AdamW(nets["clap"].parameters(), lr=3e-3)
    before = task.evaluate(nets, a_batch(100))
    for step in range(40):
        [(name, loss, logs)] = task.losses(nets, a_batch(step), step)
        assert name == "clap"
        assert set(logs) == {"loss/contrastive", "clap/scale"}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = task.evaluate(nets, a_batch(100))
    assert after["r@1"].tolist() == [1, 1, 1, 1]
    assert after["margin"].mean() > before["margin"].mean() + 0.3
    task.export({"clap": nets["clap"].state_dict()}, tmp_path)
    again, batch = Clap.from_pretrained(tmp_path), a_batch(100)
    expected = nets["clap"].audio(batch["audio"], batch["length"])
    torch.testing.assert_close(again.audio(batch["audio"], batch["length"]), expected)
    assert EncodersFile.read(tmp_path).encoders["text"] == task.config.text


def test_captions_that_differ_in_case_and_edges_are_one():
    own, said = numbered(WORDS, SAID)
    assert own[0] == own[2]
    assert len(set(own.tolist())) == 3
    assert torch.equal(said[:, 0], own)
    assert (said != 0).sum(1).tolist() == [1, 1, 2, 1]


def test_a_caption_that_fits_another_clip_too_is_no_wrong_answer():
    task = make()
    nets = task.networks()
    apart = a_batch(0) | {"captions": list("abcd"), "said": [["a"], ["b"], ["c"], ["d"]]}
    every = apart | {"said": [list("abcd")] * 4}
    assert task.evaluate(nets, every)["r@1"].tolist() == [1, 1, 1, 1]
    assert task.evaluate(nets, apart)["r@1"].mean() < 1
    losses = [next(task.losses(nets, batch, 0))[1].item() for batch in (every, apart)]
    assert losses[0] != losses[1]


def test_what_fills_a_batch_up_is_nobody_s_caption():
    torch.manual_seed(0)
    task, batch = make(), a_batch(0)
    nets = {"clap": task.networks()["clap"].eval()}
    two = {name: value[:2] for name, value in batch.items()}
    filled = {name: value[[0, 1, 3, 3]] if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
    filled |= {"weight": torch.tensor([1.0, 1.0, 0.0, 0.0])}
    alone, beside = task.evaluate(nets, two), task.evaluate(nets, filled)
    for name in ("r@1", "margin"):
        torch.testing.assert_close(beside[name][:2], alone[name])


def test_an_engine_in_bfloat16_hears_what_is_quiet():
    task, batch = make(), a_batch(0)
    net, seen = task.networks()["clap"].bfloat16(), []
    net.tower.mel.register_forward_hook(lambda module, given, made: seen.append(made[0]))
    cast_forward(net, "bf16", torch.device("cpu"))
    list(task.losses({"clap": net}, batch, 0))
    assert torch.equal(seen[0], MelFrames(task.config.model.tower.mel)(batch["audio"], batch["length"])[0])


def test_a_text_encoder_of_another_width_is_told():
    task = make(text_width=100)
    with pytest.raises(ConfigError, match=r"text_width is 100.*384"):
        task.text  # noqa: B018
