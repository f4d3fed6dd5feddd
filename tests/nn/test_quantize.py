import pytest
import torch
from torch import distributed
from torch.utils._python_dispatch import TorchDispatchMode

from t2a.nn import quantize
from t2a.nn.quantize import QuantizerConfig, ResidualQuantizer, kmeans, nearest


def quantizer(codebooks: int = 3, bins: int = 16, dimension: int = 4, **config) -> ResidualQuantizer:
    torch.manual_seed(0)
    return ResidualQuantizer(dimension, QuantizerConfig(codebooks=codebooks, bins=bins, **config))


def test_nearest_is_nearest(monkeypatch):
    monkeypatch.setattr(quantize, "DISTANCES", 64)  # several pieces
    x, book = torch.randn(100, 5), torch.randn(16, 5)
    assert torch.equal(nearest(x, book), torch.cdist(x, book).argmin(-1))


def test_kmeans_finds_separate_clusters_and_counts_them():
    torch.manual_seed(0)
    centres = 10 * torch.eye(4)
    x = (centres.repeat_interleave(50, 0) + 0.1 * torch.randn(200, 4))[torch.randperm(200)]
    found, count = kmeans(x, 8, 50, torch.Generator().manual_seed(0))
    assert torch.cdist(centres, found).min(-1).values.max() < 0.5
    assert count.sum() == 200


class Largest(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that any operation makes."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for value in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(value, torch.Tensor):
                self.bytes = max(self.bytes, value.nbytes)
        return made


def test_the_kmeans_start_needs_no_memory_for_all_distances_at_once(monkeypatch):
    monkeypatch.setattr(quantize, "DISTANCES", 2**14)
    frames, bins, width = 20_000, 256, 4
    q = quantizer(codebooks=1, bins=bins, dimension=width, kmeans_steps=2)
    x = torch.randn(1, width, frames)
    with Largest() as seen:
        q(x)
    # Every distance at once would take 20 MB; differences of all frames and codes, four times that.
    assert seen.bytes <= 8 * frames * (width + 1)
    assert seen.bytes >= 4 * frames * width


def test_decoding_the_codes_gives_the_latents():
    q = quantizer().eval()
    x = torch.randn(2, 4, 10)
    out = q(x)
    assert out.codes.shape == (2, 3, 10)
    torch.testing.assert_close(q.decode(out.codes), out.latents)
    assert torch.equal(q.encode(x), out.codes)


def test_every_codebook_brings_the_latents_closer():
    q = quantizer(codebooks=4, bins=32)
    x = torch.randn(4, 4, 200)
    for _ in range(30):
        q(x)
    q.eval()
    codes = q.encode(x)
    errors = [(q.decode(codes[:, :k]) - x).square().mean().item() for k in range(1, 5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.25 * errors[0]
    assert torch.equal(q.encode(x, 2), codes[:, :2])


def test_more_codebooks_than_there_are_cannot_be_decoded():
    with pytest.raises(ValueError, match="4 codebooks, this quantizer 3"):
        quantizer().decode(torch.zeros(1, 4, 5, dtype=torch.int64))


def test_gradients_go_straight_through_and_commitment_pulls_to_the_codes():
    q = quantizer().eval()
    x = torch.randn(2, 4, 10, requires_grad=True)
    out = q(x)
    weight = torch.randn_like(x)
    (gradient,) = torch.autograd.grad((out.latents * weight).sum(), x, retain_graph=True)
    torch.testing.assert_close(gradient, weight)
    residuals = [x - (q.decode(out.codes[:, :k]) if k else 0) for k in range(3)]
    steps = [q.decode(out.codes[:, : k + 1]) - (q.decode(out.codes[:, :k]) if k else 0) for k in range(3)]
    by_hand = torch.stack([(r - s.detach()).square().mean() for r, s in zip(residuals, steps, strict=True)]).mean()
    torch.testing.assert_close(out.commitment, by_hand)
    (pull,) = torch.autograd.grad(out.commitment, x)
    (expected,) = torch.autograd.grad(by_hand, x)
    torch.testing.assert_close(pull, expected)


def test_dead_codes_are_alive_again_and_stay_where_they_were_put():
    q = quantizer(codebooks=1, bins=16, dimension=2)
    torch.manual_seed(1)
    x = torch.rand(1, 2, 400)
    q(x)
    far = torch.full((11, 2), 100.0)
    q.codebook[0, :11], q.count[0, :11], q.total[0, :11] = far, 0.01, far * 0.01
    q(x)  # nothing chooses the eleven, so they are revived
    assert (q.codebook.abs() < 1.5).all()
    used = q(x).codes.unique()
    assert len(used) == 16
    assert q.usage().item() == 1
    for _ in range(20):
        assert len(q(x).codes.unique()) == 16
    assert (q.codebook.abs() < 1.5).all()
    assert q.usage().item() == 1


def test_codes_that_are_used_are_left_alone():
    q = quantizer(codebooks=1, bins=8, dimension=2)
    x = torch.rand(1, 2, 400)
    q(x)
    before = q.codebook.clone()
    q(x)
    assert (q.codebook - before).abs().max() < 0.05


def test_evaluation_learns_nothing_and_training_is_deterministic():
    x = torch.randn(2, 4, 50)
    a, b = quantizer(dropout=True), quantizer(dropout=True)
    for _ in range(5):
        torch.randn(3)  # the global generator plays no part
        out_a, out_b = a(x), b(x)
        assert torch.equal(out_a.latents, out_b.latents)
    before = {name: value.clone() for name, value in a.state_dict().items()}
    a.eval()(x)
    assert all(torch.equal(value, before[name]) for name, value in a.state_dict().items())


def test_dropout_trains_every_number_of_codebooks():
    q = quantizer(dropout=True)
    depths = {q(torch.randn(1, 4, 30)).codes.shape[1] for _ in range(30)}
    assert depths == {1, 2, 3}
    assert q.eval()(torch.randn(1, 4, 30)).codes.shape[1] == 3


def test_codebooks_stay_in_float32_in_a_cast_model_and_under_autocast():
    model = torch.nn.Sequential(torch.nn.Conv1d(4, 4, 1), quantizer()).bfloat16()
    assert model[1].codebook.dtype == torch.float32
    out = model(torch.randn(1, 4, 20).bfloat16())
    assert out.latents.dtype == torch.bfloat16
    assert out.commitment.dtype == torch.float32
    x = torch.randn(1, 4, 20)
    plain, cast = quantizer().eval(), quantizer().eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cast(x).latents, plain(x).latents)


def test_perplexity_counts_codes_used_equally():
    q = quantizer(codebooks=2, bins=8)
    q.count[0], q.count[1] = 3.0, torch.tensor([5.0, 5.0, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(q.perplexity(), torch.tensor([8.0, 2.0]))
    torch.testing.assert_close(q.usage(), torch.tensor([1.0, 0.25]))


def _train(q: ResidualQuantizer, x: torch.Tensor) -> dict:
    for batch in x:
        q(batch)
    return q.state_dict()


def _train_half(rank: int, folder: str, x: torch.Tensor) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(_train(quantizer(bins=64, dropout=True), x.chunk(2, 1)[rank]), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_learn_what_one_would(tmp_path):
    torch.manual_seed(5)
    x = torch.randn(6, 4, 4, 40) * torch.linspace(1, 3, 6)[:, None, None, None]  # moving, so that codes die
    torch.multiprocessing.spawn(_train_half, (str(tmp_path), x), nprocs=2)
    alone = _train(quantizer(bins=64, dropout=True), x)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), alone, rtol=1e-4, atol=1e-4)
