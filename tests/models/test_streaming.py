import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from t2a.models.codec import Codec, CodecConfig
from t2a.models.streaming import StreamingDecoder, StreamingEncoder
from t2a.nn.quantize import QuantizerConfig


def codec(**changes) -> Codec:
    torch.manual_seed(0)
    small = {"filters": 4, "ratios": (3, 2), "dimension": 8, "lstm_layers": 2, "causal": True}
    return Codec(CodecConfig(**small | {"quantizer": QuantizerConfig(codebooks=3, bins=32)} | changes)).eval()


def pieces(x: Tensor, cuts: list[int]) -> list[Tensor]:
    """Cut in time; the places may repeat, which gives empty pieces."""
    places = [0, *sorted(min(cut, x.shape[-1]) for cut in cuts), x.shape[-1]]
    return [x[..., a:b] for a, b in itertools.pairwise(places)]


def streamed(stream: StreamingEncoder | StreamingDecoder, parts: list[Tensor]) -> Tensor:
    return torch.cat([*(stream.push(part) for part in parts), stream.finish()], -1)


CONFIGS = {
    "norm": st.sampled_from(["weight", "layer", "none"]),
    "pad_mode": st.sampled_from(["constant", "reflect", "replicate"]),
    "shortcut": st.sampled_from(["identity", "conv"]),
    "causal": st.booleans(),
    "lstm_layers": st.sampled_from([0, 2]),
    "residual_units": st.sampled_from([1, 3]),
    "ratios": st.sampled_from([(2,), (3, 2), (2, 5), (4, 1, 2)]),
    "channels": st.integers(1, 2),
}


@settings(max_examples=60, deadline=None)
@given(
    changes=st.fixed_dictionaries(CONFIGS),
    samples=st.one_of(st.integers(1, 40), st.integers(41, 400)),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_a_stream_in_any_pieces_is_the_whole(changes, samples, cuts):
    """In float64, where no codes are tied and a norm over two channels does not blow rounding up."""
    model = codec(**changes).double()
    wave = torch.randn(2, model.channels, samples, dtype=torch.float64)
    with torch.no_grad():
        whole = model.encode(wave)
        audio = model.decode(whole)
    assert torch.equal(streamed(StreamingEncoder(model), pieces(wave, cuts)), whole)
    decoded = streamed(StreamingDecoder(model), pieces(whole, [cut // model.hop for cut in cuts]))
    torch.testing.assert_close(decoded, audio, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_in_float32_a_stream_is_the_whole_to_a_hundred_thousandth(causal):
    model = codec(causal=causal, filters=16, ratios=(5, 4, 2), pad_mode="reflect", shortcut="conv").fold()
    wave = 0.3 * torch.randn(1, 1, 40 * 60 + 7)
    with torch.no_grad():
        latents, whole = model.encoder(wave), model.encode(wave)
        audio = model.decode(whole)
    codes = streamed(StreamingEncoder(model), list(wave.split(97, -1)))
    for b, l in torch.nonzero((codes != whole).any(1)).tolist():
        k = int(torch.nonzero(codes[b, :, l] != whole[b, :, l])[0])
        left = latents[b, :, l] - (model.quantizer.decode(whole[b : b + 1, :k, l : l + 1])[0, :, 0] if k else 0)
        near = [(left - model.quantizer.codebook[k, c[b, k, l]]).norm() for c in (codes, whole)]
        torch.testing.assert_close(near[0], near[1], rtol=1e-5, atol=0)  # a tie
    decoded = streamed(StreamingDecoder(model), list(whole.split(1, -1)))
    assert (decoded - audio).abs().max() < 1e-5 * audio.abs().max()


@settings(max_examples=30, deadline=None)
@given(changes=st.fixed_dictionaries(CONFIGS))
def test_the_latency_is_what_must_be_pushed_before_anything_comes_out(changes):
    model = codec(**changes)
    encoder, decoder = StreamingEncoder(model), StreamingDecoder(model)
    wave = torch.randn(1, model.channels, encoder.latency + 10 * model.hop)
    assert encoder.push(wave[..., : encoder.latency - 1]).shape[-1] == 0
    codes = [encoder.push(wave[..., encoder.latency - 1 : encoder.latency])]
    codes += [encoder.push(piece) for piece in wave[..., encoder.latency :].split(model.hop, -1)]
    assert [c.shape[-1] > 0 for c in codes] == [True] * 11
    frames = torch.randint(0, 32, (1, 3, decoder.latency // model.hop + 10))
    assert decoder.push(frames[..., : decoder.latency // model.hop - 1]).shape[-1] == 0
    waves = [decoder.push(frame) for frame in frames[..., decoder.latency // model.hop - 1 :].split(1, -1)]
    assert [w.shape[-1] > 0 for w in waves] == [True] * 11


def test_a_causal_codec_that_pads_with_zeros_waits_for_its_frame_only():
    model = codec()
    assert (StreamingEncoder(model).latency, StreamingDecoder(model).latency) == (6, 6)
    wave = torch.randn(1, 1, 60)
    encoder = StreamingEncoder(model)
    assert [encoder.push(sample).shape[-1] for sample in wave.split(1, -1)] == [0, 0, 0, 0, 0, 1] * 10


def test_one_codec_serves_streams_side_by_side():
    model = codec()
    waves = torch.randn(3, 1, 1, 120)
    streams = [StreamingEncoder(model, codebooks=k) for k in (1, 2, 3)]
    codes = [[], [], []]
    for start in range(0, 120, 7):
        for i, stream in enumerate(streams):
            codes[i].append(stream.push(waves[i][..., start : start + 7]))
    for i, stream in enumerate(streams):
        whole = model.encode(waves[i], i + 1)
        assert torch.equal(torch.cat([*codes[i], stream.finish()], -1), whole)


def test_a_long_stream_holds_no_more_than_a_short_one():
    model = codec(causal=False, pad_mode="reflect")
    encoder, decoder = StreamingEncoder(model), StreamingDecoder(model)
    sizes = []
    for _ in range(20):
        decoder.push(encoder.push(torch.randn(1, 1, 100)))
        sizes.append(held(encoder._stage) + held(decoder._stage))
    assert max(sizes[2:]) <= 1.2 * max(sizes[:4])


def held(stage) -> int:
    """Bytes of the tensors in a stage and in what it is made of."""
    if isinstance(stage, Tensor):
        return stage.untyped_storage().nbytes()
    if isinstance(stage, list | tuple):
        return sum(map(held, stage))
    if isinstance(stage, torch.nn.Module) or not hasattr(stage, "__dict__"):
        return 0
    return sum(held(value) for value in vars(stage).values())


def test_a_stream_without_samples_has_no_codes():
    model = codec()
    encoder, decoder = StreamingEncoder(model), StreamingDecoder(model)
    assert encoder.push(torch.zeros(2, 1, 0)).shape == (2, 3, 0)
    assert encoder.finish().shape == (2, 3, 0)
    assert decoder.finish().shape == (1, 1, 0)


def test_what_cannot_be_streamed_is_said():
    with pytest.raises(ValueError, match=r"time_group.*windows.*or train one with norm weight"):
        StreamingEncoder(codec(norm="time_group"))
    with pytest.raises(ValueError, match="time_group"):
        StreamingDecoder(codec(norm="time_group"))
    encoder, decoder = StreamingEncoder(codec()), StreamingDecoder(codec())
    with pytest.raises(ValueError, match=r"\[1, 2, 5\]; this stream takes \[B, 1, n\]"):
        encoder.push(torch.zeros(1, 2, 5))
    encoder.push(torch.zeros(2, 1, 5))
    with pytest.raises(ValueError, match=r"this stream takes \[2, 1, n\]"):
        encoder.push(torch.zeros(1, 1, 5))
    for stream, piece in ((encoder, torch.zeros(2, 1, 5)), (decoder, torch.zeros(1, 1, 1, dtype=torch.int64))):
        stream.finish()
        with pytest.raises(ValueError, match="open another one"):
            stream.push(piece)
        with pytest.raises(ValueError, match="open another one"):
            stream.finish()
