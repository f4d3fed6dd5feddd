import pytest
import torch
from pydantic import ValidationError

from t2a.audio.spectral import MelSpec
from t2a.errors import ConfigError
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.kl1d import Kl1dConfig
from t2a.models.vocoder import HifiGan, Vocos, load_vocoder
from t2a.tasks.vocoder import VocoderTask, VocoderTaskConfig

RATE = 8000
MEL = {"rate": RATE, "n_fft": 256, "hop": 64, "n_mels": 32, "log": "ln"}
VOCOS = {"kind": "vocos", "mel": MEL, "width": 32, "hidden": 64, "layers": 2}
HIFIGAN = {
    "kind": "hifigan", "mel": MEL, "width": 32, "rates": [8, 8], "kernels": [16, 16], "residual_kernels": [3],
    "dilations": [[1, 3]],
}  # fmt: skip
SMALL = {
    "model": VOCOS,
    "critic": {"ffts": [], "periods": {"periods": [2], "widths": [4, 4]}, "resolutions": {"ffts": [256], "filters": 4}},
    "mel": {"windows": [128, 512], "mels": 32, "log": True, "floor": 1e-3},
}
PLAIN = {"critic": None, "weights": {"mel": 1.0, "adv": 0, "feat": 0}}


def task(**changes) -> VocoderTask:
    return VocoderTaskConfig.model_validate(SMALL | changes).build()


def batch(rows: int = 4, samples: int = 2048, seed: int = 0) -> dict:
    """Chirping tones of random pitch."""
    draw = torch.Generator().manual_seed(seed)
    hertz = 100 + 400 * torch.rand(rows, 1, 1, generator=draw)
    time = torch.arange(samples) / RATE
    wave = 0.4 * torch.sin(2 * torch.pi * hertz * time * (1 + time))
    return {"audio": wave, "length": torch.full((rows,), samples), "captions": [], "ids": []}


def train(task: VocoderTask, steps: int, lr: float = 2e-3) -> tuple[dict, list[dict]]:
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


@pytest.mark.parametrize(("model", "kind"), [(VOCOS, Vocos), (HIFIGAN, HifiGan)], ids=["vocos", "hifigan"])
def test_it_learns_tones_within_seconds_and_exports_what_it_learnt(model, kind, tmp_path):
    trained = task(model=model, **PLAIN)
    nets, history = train(trained, 60, lr=4e-3)
    assert history[-1]["loss/mel"] < 0.6 * history[0]["loss/mel"]
    nets = {name: net.eval() for name, net in nets.items()}
    held_out = batch(rows=8, seed=10_000)
    untrained = {"vocoder": trained.networks()["vocoder"].eval()}
    after, before = (trained.evaluate(those, held_out) for those in (nets, untrained))
    for metric in ("mel_distance", "stft_distance"):
        assert after[metric].shape == (8,)
        assert after[metric].mean() < 0.75 * before[metric].mean()
    trained.export({name: net.state_dict() for name, net in nets.items()}, tmp_path / "model")
    found = load_vocoder(tmp_path / "model")
    assert isinstance(found, kind)
    mel = torch.randn(1, 32, 9)
    assert torch.equal(found(mel), nets["vocoder"](mel))


@pytest.mark.parametrize("contest", ["hinge", "lsgan"])
def test_critic_and_vocoder_take_turns_once_the_critic_has_started(contest):
    late = task(critic_start=3, contest=contest)
    nets = late.networks()
    assert [name for name, *_ in late.losses(nets, batch(), 2)] == ["vocoder"]
    turns = []
    for name, loss, logs in late.losses(nets, batch(), 3):
        loss.backward()
        touched = {of for of, net in nets.items() if any(p.grad is not None for p in net.parameters())}
        assert touched == {"critic"} if name == "critic" else {"critic", "vocoder"}
        turns.append((name, set(logs)))
    assert turns == [("critic", {"loss/critic"}), ("vocoder", {"loss/mel", "loss/adv", "loss/feat"})]


def test_the_vocoder_s_gradient_is_that_of_the_weighted_sum():
    plain = task(weights={"mel": 3.0, "adv": 2.0, "feat": 0.5}, contest="lsgan")
    torch.manual_seed(0)
    nets, wave = plain.networks(), batch()["audio"]
    gradients = {}
    for name, loss, _ in plain.losses(nets, batch(), 0):
        loss.backward()
        gradients[name] = [p.grad.clone() for p in nets[name].parameters()]
    made = nets["vocoder"](plain.spectrogram(wave[:, 0]))[..., :2048]
    real, fake = nets["critic"](wave), nets["critic"](made)
    squares = sum((logits - 1).square().mean() for logits in fake.logits) / 2
    ratios = [
        ((f - r).abs().flatten(1).mean(1) / r.abs().flatten(1).mean(1)).mean()
        for rs, fs in zip(real.features, fake.features, strict=True)
        for r, f in zip(rs, fs, strict=True)
    ]
    total = 3 * plain.mel(made, wave) + 2 * squares + 0.5 * sum(ratios) / len(ratios)
    expected = list(torch.autograd.grad(total, list(nets["vocoder"].parameters()), retain_graph=True))
    torch.testing.assert_close(gradients["vocoder"], expected, rtol=1e-3, atol=1e-4)
    own = sum((r - 1).square().mean() + f.square().mean() for r, f in zip(real.logits, fake.logits, strict=True)) / 2
    expected = list(torch.autograd.grad(own, list(nets["critic"].parameters())))
    torch.testing.assert_close(gradients["critic"], expected, rtol=1e-3, atol=1e-5)


def autoencoder(folder, **mel) -> str:
    torch.manual_seed(0)
    network = Kl1dConfig(widths=(16, 16), blocks=1, latent=4)
    Autoencoder(AutoencoderConfig(mel=MelSpec(**MEL | mel), network=network)).save_pretrained(folder)
    return str(folder)


def test_reconstructions_take_the_place_of_spectrograms(tmp_path):
    where = autoencoder(tmp_path / "autoencoder")
    heard: list[torch.Tensor] = []
    for given in (None, where):
        torch.manual_seed(0)
        trained = task(autoencoder=given, **PLAIN)
        nets = trained.networks()
        nets["vocoder"].register_forward_pre_hook(lambda _, args: heard.append(args[0]))
        for _, loss, _ in trained.losses(nets, batch(), 0):
            loss.backward()
    mel, reconstructed = heard
    frozen = Autoencoder.from_pretrained(where)
    with torch.no_grad():
        torch.testing.assert_close(reconstructed, frozen.decode(frozen.encode(mel))[..., : mel.shape[-1]])
    assert not torch.allclose(reconstructed, mel, atol=0.1)


def test_an_autoencoder_of_other_spectrograms_is_refused(tmp_path):
    where = autoencoder(tmp_path / "autoencoder", n_fft=512, fmax=3000.0)
    told = "n_fft 256 and 512, win 256 and 512, fmax 4000.0 and 3000.0"
    with pytest.raises(ConfigError, match=f"the autoencoder {where} make different spectrograms: {told}"):
        task(autoencoder=where)
    Vocos(task().config.model).save_pretrained(tmp_path / "vocos")
    with pytest.raises(ConfigError, match="holds a vocos, not an autoencoder"):
        task(autoencoder=str(tmp_path / "vocos"))


def test_samples_are_pairs_as_long_as_the_clips():
    trained = task()
    nets = {name: net.eval() for name, net in trained.networks().items()}
    heard = trained.samples(nets, batch() | {"length": torch.tensor([50, 60, 70, 80])})
    assert list(heard)[:2] == ["0/original", "0/vocoded"]
    assert [(wave.shape, rate) for wave, rate in heard.values()][-1] == ((1, 80), RATE)


@pytest.mark.parametrize("center", [True, False])
def test_clips_that_are_no_whole_frames_are_compared_where_both_reach(center):
    trained = task(model=VOCOS | {"mel": MEL | {"center": center}}, **PLAIN)
    nets = trained.networks()
    values = trained.evaluate(nets, batch(samples=2048 + 30))
    assert values["mel_distance"].shape == (4,)
    for _, loss, _ in trained.losses(nets, batch(samples=2048 + 30), 0):
        assert loss.isfinite()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"critic": None}, "need a critic"),
        ({"weights": {"adv": 0, "feat": 0}}, "the critic is not heard"),
        ({"weights": {"mel": 0}}, "greater than 0"),
        ({"model": {"kind": "wavenet"}}, "wavenet"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        task(**changes)
