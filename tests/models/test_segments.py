import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from t2a.errors import ConfigError
from t2a.models import segments
from t2a.models.codec import Codec, CodecConfig, Encoded, loudness
from t2a.models.streaming import StreamingDecoder, StreamingEncoder
from t2a.nn.quantize import QuantizerConfig


def codec(**changes) -> Codec:
    torch.manual_seed(0)
    small = {"sample_rate": 1000, "filters": 4, "ratios": (5, 4), "dimension": 4, "lstm_layers": 0}
    small |= {"quantizer": QuantizerConfig(codebooks=2, bins=16)}
    return Codec(CodecConfig(**small | changes)).eval()


STEREO = {"channels": 2, "norm": "time_group", "normalise": True, "segment_seconds": 0.1, "overlap": 0.1}


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 700), overlap=st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9]))
@torch.no_grad()
def test_segments_cover_a_clip_of_any_length_and_come_back_as_long(length, overlap):
    model = codec(**STEREO | {"overlap": overlap})
    wave = torch.randn(1, 2, length)
    spans = segments.spans(model.config, length)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(after[0] <= before[1] for before, after in itertools.pairwise(spans))
    parts = segments.encode(model, wave)
    decoded = segments.decode(model, parts, length)
    assert decoded.shape == wave.shape
    assert decoded.isfinite().all()


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 300), size=st.integers(1, 60), overlap=st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.8]))
def test_segments_of_a_wave_add_up_to_the_wave(length, size, overlap):
    wave = torch.randn(2, length, dtype=torch.float64)
    stride = max(1, int((1 - overlap) * size))
    parts = [wave[:, start : start + size] for start in range(0, length, stride)]
    joined = torch.cat(list(segments.overlap_add(parts, stride)), -1)
    torch.testing.assert_close(joined, wave)


def test_two_segments_fade_linearly_into_each_other():
    first, second = torch.ones(1, 100), torch.zeros(1, 100)
    joined = torch.cat(list(segments.overlap_add([first, second], 90)), -1)[0]
    assert torch.equal(joined[:90], torch.ones(90))
    assert torch.equal(joined[100:], torch.zeros(90))
    torch.testing.assert_close(joined[90:100], 1 - torch.arange(1, 11) / 11)


@torch.no_grad()
def test_pieces_come_one_by_one():
    model, taken = codec(**STEREO), []
    parts = segments.encode(model, torch.randn(1, 2, 1000))

    def watched():
        for part in parts:
            taken.append(part)
            yield part

    pieces = segments.pieces(model, watched())
    assert next(pieces).shape == (1, 2, 90)
    assert len(taken) == 1


@torch.no_grad()
def test_a_segment_knows_nothing_of_the_others():
    model, wave = codec(**STEREO), torch.randn(1, 2, 300)
    changed = wave.clone()
    changed[..., 100:] += 1
    a, b = (segments.encode(model, x) for x in (wave, changed))
    assert torch.equal(a[0].codes, b[0].codes)
    assert torch.equal(a[0].scale, b[0].scale)
    assert not torch.equal(a[1].scale, b[1].scale)


@torch.no_grad()
def test_a_codec_without_segments_codes_a_clip_in_one():
    model, wave = codec(), torch.randn(2, 1, 333)
    (part,) = segments.encode(model, wave, 1)
    assert part.scale is None
    assert torch.equal(part.codes, model.encode(wave, 1))
    assert torch.equal(segments.decode(model, [part], 333), model.decode(part.codes, 333))


@torch.no_grad()
def test_a_codec_that_normalises_gives_a_clip_its_loudness_back():
    model, wave = codec(channels=2, normalise=True), torch.randn(3, 2, 400)
    levels = torch.tensor([1e-3, 0.1, 1.0])
    quiet = model.encode_scaled(wave * levels[:, None, None])
    loud = model.encode_scaled(wave)
    assert torch.equal(quiet.codes, loud.codes)
    torch.testing.assert_close(quiet.scale, loudness(wave) * levels)
    torch.testing.assert_close(loud.scale, wave.mean(1).square().mean(1).sqrt())
    decoded = model.decode(quiet.codes, 400, quiet.scale)
    torch.testing.assert_close(decoded, model.decode(loud.codes, 400, loud.scale) * levels[:, None, None])
    torch.testing.assert_close(model(wave * levels[:, None, None]).audio, decoded)


@torch.no_grad()
def test_silence_stays_silence():
    model = codec(normalise=True)
    assert model(torch.zeros(1, 1, 100)).audio.abs().max() < 1e-6


def test_training_follows_the_loudness_back():
    model = codec(normalise=True).train()
    model(0.01 * torch.randn(2, 1, 400)).audio.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_codes_without_the_loudness_they_need_are_refused():
    model, wave = codec(normalise=True), torch.randn(1, 1, 100)
    with pytest.raises(ConfigError, match="normalises the loudness"):
        model.encode(wave)
    encoded = model.encode_scaled(wave)
    with pytest.raises(ValueError, match="with a scale"):
        model.decode(encoded.codes)
    with pytest.raises(ValueError, match="with a scale"):
        codec().decode(*Encoded(encoded.codes, None)[:1], scale=encoded.scale)


def test_a_clip_on_which_the_originals_fail_decodes():
    """At 47,744 samples EnCodec's first segment ends, rounded up to frames, behind its last, and its sum overflows."""
    config = {"sample_rate": 48000, "ratios": (8, 5, 4, 2), "segment_seconds": 1.0, "overlap": 0.01}
    model, wave = codec(**config), torch.randn(1, 1, 47_744)
    with torch.no_grad():
        decoded = segments.decode(model, segments.encode(model, wave), wave.shape[-1])
    assert decoded.shape == wave.shape


@pytest.mark.parametrize("coder", [StreamingEncoder, StreamingDecoder])
def test_a_codec_that_normalises_does_not_stream(coder):
    with pytest.raises(ValueError, match="in segments"):
        coder(codec(normalise=True))
