import pytest
import torch
from pydantic import ValidationError

from t2a.config import validate
from t2a.errors import ConfigError
from t2a.losses.adversarial import weighed_critic_loss, weighed_generator_loss
from t2a.models.autoencoder import Autoencoder
from t2a.tasks.autoencoder import AutoencoderTask, AutoencoderTaskConfig
from t2a.train.run import Run

RATE = 8000
MEL = {"rate": RATE, "n_fft": 256, "hop": 64, "n_mels": 16, "log": "ln"}
NETWORKS = {
    "1d": {"kind": "1d", "latent": 4, "widths": [24, 32], "blocks": 1},
    "2d": {"kind": "2d", "latent": 2, "width": 8, "multipliers": [1, 2], "blocks": 1, "groups": 4, "attention": []},
}
CRITIC = {"windows": [8, 16], "width": 8, "layers": 2}
KINDS = pytest.mark.parametrize("kind", sorted(NETWORKS))


def task(kind: str = "1d", **changes) -> AutoencoderTask:
    settings = {"model": {"mel": MEL, "network": NETWORKS[kind]}, "critic": CRITIC} | changes
    return AutoencoderTaskConfig.model_validate(settings).build()


def batch(rows: int = 4, samples: int = 2048, seed: int = 0) -> dict:
    """Chirping tones of random pitch; a row of a batch with more than two is shorter than the others."""
    draw = torch.Generator().manual_seed(seed)
    hertz = 100 + 400 * torch.rand(rows, 1, 1, generator=draw)
    time = torch.arange(samples) / RATE
    wave = 0.4 * torch.sin(2 * torch.pi * hertz * time * (1 + time))
    length = torch.full((rows,), samples)
    if rows > 2:
        length[1] = 3 * samples // 8
        wave[1, :, length[1] :] = 0
    return {"audio": wave, "length": length, "captions": [], "ids": []}


def train(task: AutoencoderTask, steps: int, lr: float = 3e-3) -> tuple[dict, list[dict]]:
    torch.manual_seed(0)
    nets = task.networks()
    optimizers = {name: torch.optim.AdamW(net.parameters(), lr=lr, betas=(0.8, 0.99)) for name, net in nets.items()}
    history = []
    for step in range(steps):
        logs = {}
        for name, loss, seen in task.losses(nets, batch(seed=step), step):
            loss.backward()
            optimizers[name].step()
            optimizers[name].zero_grad()
            logs |= {key: value.item() for key, value in seen.items()}
        history.append(logs)
    return nets, history


@KINDS
def test_it_learns_tones_within_seconds_and_what_it_exports_loads(kind, tmp_path):
    trained = task(kind)
    before = trained.evaluate({name: net.eval() for name, net in trained.networks().items()}, batch(8, seed=10_000))
    nets, history = train(trained, 60)
    assert history[-1]["loss/l1"] < 0.5 * history[0]["loss/l1"]
    nets = {name: net.eval() for name, net in nets.items()}
    after = trained.evaluate(nets, batch(8, seed=10_000))
    assert after["spectrogram_distance"].mean() < 0.6 * before["spectrogram_distance"].mean()
    trained.export({name: net.state_dict() for name, net in nets.items()}, tmp_path / "model")
    again = Autoencoder.from_pretrained(tmp_path / "model")
    mel = again.mel(batch(seed=10_000)["audio"])
    assert torch.equal(again.decode(again.encode(mel)), nets["autoencoder"].decode(again.encode(mel)))
    # Standardised with what was measured while training.
    spread = again.encode(mel).std()
    assert 0.5 < spread < 2


def test_critic_and_autoencoder_take_turns_once_the_critic_has_started():
    late = task(critic_start=3)
    nets = late.networks()
    assert [name for name, *_ in late.losses(nets, batch(), 2)] == ["autoencoder"]
    turns = [(name, set(logs)) for name, _, logs in late.losses(nets, batch(), 3)]
    assert turns == [
        ("critic", {"loss/critic", "critic/left_out"}),
        ("autoencoder", {"loss/l1", "loss/kl", "loss/adv", "critic/weight", "latents/std"}),
    ]


@KINDS
def test_each_turn_s_gradient_is_its_own_and_that_of_its_plain_loss(kind):
    plain = task(kind, weights={"kl": 0.01, "adv": 0.7})
    torch.manual_seed(0)
    nets = plain.networks()
    for net in nets.values():
        net.eval()  # so that nothing is drawn from the posterior
    model, critic = nets["autoencoder"], nets["critic"]
    torch.manual_seed(1)
    gradients, logs = {}, {}
    for name, loss, seen in plain.losses(nets, batch(), 0):
        loss.backward()
        assert all(p.grad is None for p in model.parameters()) == (name == "critic")
        gradients[name] = [p.grad.clone() for p in nets[name].parameters()]
        logs |= seen

    wave, length = batch()["audio"], batch()["length"]
    mel, frames = model.mel(wave, length), length // 64 + 1
    torch.manual_seed(1)
    starts = critic.draw(frames)
    out = model(mel, frames)
    real = critic(model.scaled(mel), frames, starts)
    fake = critic(model.scaled(out.mel), frames, starts)
    fake_only = critic(model.scaled(out.mel.detach()), frames, starts)
    expected = torch.autograd.grad(
        weighed_critic_loss(real.logits, fake_only.logits, real.weights), list(critic.parameters()), retain_graph=True
    )
    torch.testing.assert_close(gradients["critic"], list(expected), rtol=1e-4, atol=1e-6)

    l1 = torch.stack([(out.mel[i, :, :n] - mel[i, :, :n]).abs().mean() for i, n in enumerate(frames)]).mean()
    kl = 0
    for i, n in enumerate(frames):
        m, v = (x[i, ..., : -(-n // 2)] for x in (out.mean, out.logvar))
        kl = kl + torch.distributions.kl_divergence(
            torch.distributions.Normal(m, (v / 2).exp()), torch.distributions.Normal(0.0, 1.0)
        ).sum() / (16 * n) / len(frames)
    adversarial = weighed_generator_loss(fake.logits, fake.weights)
    last = model.network.last.weight
    ratio = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (l1, adversarial)]
    assert logs["critic/weight"].item() == pytest.approx(0.7 * (ratio[0] / ratio[1]).item(), rel=1e-3)
    total = l1 + 0.01 * kl + logs["critic/weight"] * adversarial
    expected = torch.autograd.grad(total, list(model.parameters()))
    torch.testing.assert_close(gradients["autoencoder"], list(expected), rtol=1e-3, atol=1e-5)
    assert logs["loss/l1"].item() == pytest.approx(l1.item(), rel=1e-4)
    assert logs["loss/kl"].item() == pytest.approx(kl.item(), rel=1e-4)


def test_clips_shorter_than_a_window_are_left_out_and_told():
    nets = (made := task()).networks()
    [(_, _, logs), _] = list(made.losses(nets, batch() | {"length": torch.tensor([2048, 400, 900, 2048])}, 0))
    assert logs["critic/left_out"].item() == pytest.approx(3 / 8)
    with pytest.raises(
        ValueError, match=r"11 frames are shorter than the critic's window of 16: make data.crop_seconds"
    ):
        list(made.losses(nets, batch(samples=640), 0))


def test_the_critic_can_be_held_back_at_recorded_spectrograms():
    held = task(critic=CRITIC | {"patch": {"width": 8, "layers": 1}}, weights={"r1": 10.0})
    _, history = train(held, 3)
    assert all(0 < logs["loss/r1"] < float("inf") for logs in history)


def test_silent_batches_leave_every_gradient_finite_and_no_sound():
    made = task(critic=CRITIC | {"patch": {"width": 8, "layers": 1}}, weights={"r1": 1.0})
    torch.manual_seed(0)
    nets = made.networks()
    silent = batch() | {"audio": torch.zeros(4, 1, 2048)}
    for name, loss, _ in made.losses(nets, silent, 0):
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in nets[name].parameters())
    nets = {name: net.eval() for name, net in nets.items()}
    assert all(value.isfinite().all() for value in made.evaluate(nets, silent).values())
    heard = made.samples(nets, silent)
    assert heard["0/griffin-lim"][0].abs().max() < 1e-3


def test_what_fills_a_row_up_is_not_judged():
    made = task()
    nets = {name: net.eval() for name, net in made.networks().items()}
    together = made.evaluate(nets, batch(rows=3))
    assert all(value.shape == (3,) and value.dtype == torch.float32 for value in together.values())
    short = batch(rows=3)["audio"][1:2, :, :768]
    alone = made.evaluate(nets, {"audio": short, "length": torch.tensor([768])})
    for name, value in alone.items():
        assert together[name][1].item() == pytest.approx(value.item(), rel=1e-3), name


def test_samples_are_as_long_as_the_clips():
    made = task()
    heard = made.samples({name: net.eval() for name, net in made.networks().items()}, batch())
    assert list(heard)[:3] == ["0/original", "0/griffin-lim", "0/decoded"]
    assert [wave.shape for name, (wave, rate) in heard.items() if name.startswith("1/")] == [(1, 768)] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"critic": None}, "need a critic"),
        ({"weights": {"adv": 0}}, "the critic is not heard"),
        ({"weights": {"l1": 0}}, "greater than 0"),
        ({"critic": {"windows": []}}, "nobody judges"),
        ({"critic": {"windows": [8], "layers": 3}}, "at least 16 frames"),
        ({"critic": CRITIC | {"patch": {}}}, "needs 24 mel bands"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        task(**changes)


def test_a_run_of_it_reads_audio_of_its_rate():
    settings = {
        "name": "a", "out": "o", "steps": 1, "batch_size": 1, "task": {"kind": "autoencoder", "model": {"mel": MEL}},
        "data": {"kind": "audio", "uri": "c", "sample_rate": 16000, "crop_seconds": 3},
        "optim": {"autoencoder": {}, "critic": {}},
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"data.sample_rate is 16000, but task.model.sample_rate is 8000"):
        validate(Run, settings, "test")
