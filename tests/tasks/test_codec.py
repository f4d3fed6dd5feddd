import pytest
import torch
from pydantic import ValidationError

from t2a.losses.adversarial import critic_loss, feature_loss, generator_loss
from t2a.models.codec import Codec
from t2a.tasks.codec import CodecTask, CodecTaskConfig

RATE = 8000
SMALL = {
    "model": {
        "sample_rate": RATE,
        "filters": 4,
        "ratios": [4, 4, 4],
        "dimension": 16,
        "lstm_layers": 0,
        "quantizer": {"codebooks": 2, "bins": 32},
    },
    "critic": {"ffts": [256, 64], "filters": 4},
    "mel": {"windows": [64, 512]},
}
PLAIN = {"critic": None, "weights": {"l1": 1.0, "mel": 1.0, "adv": 0, "feat": 0}}


def task(**changes) -> CodecTask:
    return CodecTaskConfig.model_validate(SMALL | changes).build()


def batch(rows: int = 4, samples: int = 2048, seed: int = 0) -> dict:
    """Chirping tones of random pitch."""
    draw = torch.Generator().manual_seed(seed)
    hertz = 100 + 400 * torch.rand(rows, 1, 1, generator=draw)
    time = torch.arange(samples) / RATE
    wave = 0.4 * torch.sin(2 * torch.pi * hertz * time * (1 + time))
    return {"audio": wave, "length": torch.full((rows,), samples), "captions": [], "ids": []}


def train(task: CodecTask, steps: int, lr: float = 3e-3) -> tuple[dict, list[dict]]:
    torch.manual_seed(0)
    nets = task.networks()
    # The gradients of the critic's last bias cancel at first; with a smaller eps AdamW would blow up their rounding.
    optimizers = {
        name: torch.optim.AdamW(net.parameters(), lr=lr, betas=(0.8, 0.99), eps=1e-4) for name, net in nets.items()
    }
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


def test_the_losses_after_five_steps_are_those_of_the_first_release():
    _, history = train(task(), 5)
    last = {name.removeprefix("loss/"): value for name, value in history[-1].items() if name.startswith("loss/")}
    first_release = {
        "critic": 1.97488,
        "l1": 0.26683,
        "mel": 0.74081,
        "adv": 1.0108,
        "feat": 1.43581,
        "commit": 0.01932,
    }
    assert last == pytest.approx(first_release, rel=2e-3)


def test_it_learns_tones_within_seconds():
    trained = task(**PLAIN, balancer=False)
    nets, history = train(trained, 150)
    assert history[-1]["loss/mel"] < 0.5 * history[0]["loss/mel"]
    assert history[-1]["codes/usage"] == 1
    nets["codec"].eval()
    untrained = trained.networks()["codec"].eval()
    held_out = batch(rows=8, seed=10_000)
    after = trained.evaluate(nets, held_out)
    before = trained.evaluate({"codec": untrained}, held_out)
    assert after["si_snr"].mean() > before["si_snr"].mean() + 10
    assert after["mel_distance"].mean() < before["mel_distance"].mean()


def test_critic_and_codec_take_turns_once_the_critic_has_started():
    late = task(critic_start=3)
    nets = late.networks()
    assert [name for name, *_ in late.losses(nets, batch(), 2)] == ["codec"]
    turns = [(name, set(logs)) for name, _, logs in late.losses(nets, batch(), 3)]
    assert [name for name, _ in turns] == ["critic", "codec"]
    assert {"loss/l1", "loss/mel", "loss/adv", "loss/feat", "loss/commit", "codes/usage"} <= turns[1][1]


def test_each_turn_s_gradient_is_its_own_and_that_of_its_plain_loss():
    plain = task(balancer=False)
    torch.manual_seed(0)
    nets = plain.networks()
    for net in nets.values():
        net.eval()  # so that the codebooks stay as they are for the reference
    codec, critic = nets["codec"], nets["critic"]
    wave = batch()["audio"]
    gradients = {}
    for name, loss, _ in plain.losses(nets, batch(), 0):
        loss.backward()
        assert all(p.grad is None for p in codec.parameters()) == (name == "critic")
        gradients[name] = [p.grad.clone() for p in nets[name].parameters()]

    out = codec(wave)
    real, fake = critic(wave), critic(out.audio.detach())
    expected = torch.autograd.grad(critic_loss(real.logits, fake.logits), list(critic.parameters()))
    torch.testing.assert_close(gradients["critic"], list(expected), rtol=1e-4, atol=1e-6)
    real, fake = critic(wave), critic(out.audio)
    total = 0.1 * (out.audio - wave).abs().mean() + 2 * plain.mel(out.audio, wave) + out.commitment
    total = total + 4 * generator_loss(fake.logits) + 4 * feature_loss(real.features, fake.features)
    expected = torch.autograd.grad(total, list(codec.parameters()))
    torch.testing.assert_close(gradients["codec"], list(expected), rtol=1e-4, atol=1e-5)


def test_the_use_of_every_codebook_is_logged():
    trained = task()
    nets, history = train(trained, 2)
    quantizer, last = nets["codec"].quantizer, history[-1]
    for name, values in (("usage", quantizer.usage()), ("perplexity", quantizer.perplexity())):
        logged = [last[f"codes/{name}_{k}"] for k in range(1, len(values) + 1)]
        assert logged == pytest.approx(values.tolist())
        assert last[f"codes/{name}"] == pytest.approx(sum(logged) / len(logged))


def test_the_critic_hears_each_clip_once_a_step():
    nets, heard = task().networks(), []
    nets["critic"].register_forward_hook(lambda module, args, out: heard.append(args[0].shape[0]))
    for _, loss, _ in task().losses(nets, batch(), 0):
        loss.backward()
    assert heard == [4, 4]


def test_what_fills_a_row_up_is_not_judged():
    trained = task()
    nets = {name: net.eval() for name, net in trained.networks().items()}
    clip = batch(rows=1, samples=1024)["audio"]
    padded = torch.cat([torch.nn.functional.pad(clip, (0, 1024)), batch(rows=1)["audio"]])
    values = trained.evaluate(nets, {"audio": padded, "length": torch.tensor([1024, 2048])})
    assert all(value.shape == (2,) and value.dtype == torch.float32 for value in values.values())
    alone = trained.evaluate(nets, {"audio": clip, "length": torch.tensor([1024])})
    assert values["mel_distance"][0].item() == pytest.approx(alone["mel_distance"].item(), abs=1.0)


def test_samples_are_pairs_as_long_as_the_clips():
    trained = task()
    nets = {name: net.eval() for name, net in trained.networks().items()}
    heard = trained.samples(nets, batch() | {"length": torch.tensor([50, 60, 70, 80])})
    assert list(heard)[:2] == ["0/original", "0/decoded"]
    assert [(wave.shape, rate) for wave, rate in heard.values()][-1] == ((1, 80), RATE)


def test_what_is_exported_is_the_codec_alone(tmp_path):
    trained = task()
    nets, _ = train(trained, 2)
    trained.export({name: net.state_dict() for name, net in nets.items()}, tmp_path / "model")
    codec = Codec.from_pretrained(tmp_path / "model")
    wave = batch()["audio"]
    assert torch.equal(codec.encode(wave), nets["codec"].eval().encode(wave))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"critic": None}, "need a critic"),
        ({"weights": {"adv": 0, "feat": 0}}, "the critic is not heard"),
        ({"weights": {"l1": 0, "mel": 0}}, "nothing asks the codec to reconstruct"),
        ({"weights": {"mell": 1}}, "mell"),
    ],
)
def test_weights_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        task(**changes)
