import pytest
import torch

from t2a.errors import CheckpointError
from t2a.generate.session import Session, draws
from t2a.tokens.patterns import NAMED, layout
from t2a.tokens.sampling import Sampling
from tests.generate.tiny import Letters, build

GREEDY = Sampling(1.0, temperature=0.0)
PATTERNS = [*NAMED, (0, 1, 1), (((1,),), ((0,), (2,)))]


def told(*prompts):
    return {"text": Letters()(prompts)}


@torch.inference_mode()
def continued(model, given, frames, sampling=GREEDY, conditions=None, seeds=(0, 1)):
    return list(Session(model, conditions, seeds, sampling).window(given, frames))


def some(frames: int) -> torch.Tensor:
    return torch.randint(0, 32, (2, 3, frames), generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("fuse", [("prepend",), ("cross", "sum")], ids=str)
def test_what_follows_given_codes_is_the_uncached_forward_s_best(fuse, pattern, positions):
    model, given = build(fuse=fuse, pattern=pattern, positions=positions).model, some(7)
    fresh = torch.cat(continued(model, given, 12, conditions=told("rain", "dogs bark")), dim=2)
    codes = torch.cat([given, fresh], dim=2)
    placed = layout(pattern, 3, 12)
    targets = placed.build(codes, model.special)
    inputs = torch.cat([torch.full_like(targets[:, :, :1], model.special), targets[:, :, :-1]], dim=2)
    with torch.no_grad():
        best = placed.revert(model(inputs, told("rain", "dogs bark")).argmax(-1))
    assert torch.equal(best[:, :, 7:], fresh)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_given_codes_are_read_at_once(monkeypatch, guidance):
    model, read = build(pattern="delay").model, []
    advance = model.advance
    monkeypatch.setattr(model, "advance", lambda codes, state: read.append(tuple(codes.shape)) or advance(codes, state))
    continued(model, some(8), 12, Sampling(guidance), told("rain", ""))
    rows = 4 if guidance == 3 else 2
    assert read == [(rows, 3, 9)] + [(rows, 3, 1)] * 5
    assert len(read) == draws(model, 8, 12)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("known", [0, 5])
def test_frames_come_as_soon_as_they_are_complete_and_none_is_missing(pattern, known):
    model = build(pattern=pattern).model
    fresh = continued(model, some(known), 9, Sampling(), seeds=(0, 1))
    assert sum(piece.shape[2] for piece in fresh) == 9 - known
    assert len(fresh) == draws(model, known, 9)
    if pattern == "delay":
        assert [piece.shape[2] for piece in fresh] == [0, 0] + [1] * (9 - known)


def test_a_session_s_windows_draw_from_one_stream_of_numbers():
    model, session = build(pattern="parallel").model, None
    session = Session(model, None, [3, 4], Sampling(temperature=100.0, top_k=0))  # the numbers alone decide
    with torch.inference_mode():
        first, second = (torch.cat(list(session.window(some(0), 6)), dim=2) for _ in range(2))
    assert not torch.equal(first, second)


def test_a_broken_model_is_told():
    model = build().model
    with torch.no_grad():
        model.heads.weight.fill_(torch.nan)
    with pytest.raises(CheckpointError, match="predicts NaN"):
        continued(model, some(0), 4, Sampling())
