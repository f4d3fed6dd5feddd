import torch

from t2a.config import validate
from t2a.models.ssast import Ssast
from t2a.tasks.ssast import SsastTask, SsastTaskConfig

MEL = {"n_fft": 256, "hop": 64, "n_mels": 16, "log": "ln"}
TOWER = {"mel": MEL, "patch": [4, 4], "width": 32, "layers": 2, "heads": 2}


def make(**changes) -> SsastTask:
    return validate(SsastTaskConfig, {"kind": "ssast", "model": {"tower": TOWER}} | changes, "recipe").build()


def a_batch(seed: int) -> dict:
    """Sweeps, whose hidden patches follow from what is left of them; one is shorter."""
    draw = torch.Generator().manual_seed(seed)
    t = torch.arange(6000) / 16000
    speeds = 2000 + 6000 * torch.rand(8, 1, generator=draw)
    wave = 0.5 * torch.sin(2 * torch.pi * (300 * t + speeds * t**2))[:, None]
    return {"audio": wave, "length": torch.tensor([6000] * 7 + [2500]), "captions": [""] * 8, "ids": list("abcdefgh")}


def test_it_learns_to_find_and_to_paint_hidden_patches_and_exports(tmp_path):
    torch.manual_seed(0)
    task = make()
    nets = task.networks()
    optimizer = torch.optim.AdamW(nets["ssast"].parameters(), lr=3e-3)
    before = task.evaluate(nets, a_batch(100))
    for step in range(60):
        [(name, loss, logs)] = task.losses(nets, a_batch(step), step)
        assert name == "ssast"
        assert set(logs) == {"loss/matching", "loss/reconstruction", "ssast/found"}
        torch.testing.assert_close(loss.detach(), logs["loss/matching"] + 10 * logs["loss/reconstruction"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = task.evaluate(nets, a_batch(100))
    assert after["matching"].mean() < before["matching"].mean() - 0.5
    assert after["reconstruction"].mean() < 0.7 * before["reconstruction"].mean()
    assert after["found"].mean() > 2 * before["found"].mean()
    task.export({"ssast": nets["ssast"].state_dict()}, tmp_path)
    again = Ssast.from_pretrained(tmp_path)
    torch.testing.assert_close(task.evaluate({"ssast": again}, a_batch(100))["matching"], after["matching"])


def test_what_is_hidden_from_held_out_clips_is_always_the_same():
    task = make()
    nets = task.networks()
    assert torch.equal(task.evaluate(nets, a_batch(0))["matching"], task.evaluate(nets, a_batch(0))["matching"])
    drawn = [next(task.losses(nets, a_batch(0), 0))[1] for _ in range(2)]
    assert drawn[0] != drawn[1]
