import pytest
import torch
import torch._dynamo
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from t2a.models.codec import Codec, CodecConfig
from t2a.nn.quantize import QuantizerConfig


def config(**changes) -> CodecConfig:
    small = {"filters": 4, "ratios": (5, 4, 2), "dimension": 8, "lstm_layers": 1}
    return CodecConfig(**small | {"quantizer": QuantizerConfig(codebooks=3, bins=32)} | changes)


def codec(**changes) -> Codec:
    torch.manual_seed(0)
    return Codec(config(**changes)).eval()


def parameters(config: CodecConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Codec(config).parameters())


ENCODEC_24 = CodecConfig(
    sample_rate=24000,
    filters=32,
    causal=True,
    pad_mode="reflect",
    shortcut="conv",
    quantizer=QuantizerConfig(codebooks=32, bins=1024, dropout=True),
)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (CodecConfig(), 56_819_138),
        (CodecConfig(sample_rate=32000, ratios=(8, 5, 4, 4)), 56_884_674),
        (ENCODEC_24, 14_851_810),
        (ENCODEC_24.model_copy(update={"shortcut": "identity"}), 14_675_810),
    ],
    ids=["audiogen 16 kHz", "musicgen 32 kHz", "encodec 24 kHz", "audiocraft 24 kHz"],
)
def test_published_sizes_come_out(config, count):
    assert parameters(config) == count


PAPER = {1: (2, 2, 2, 4), 2: (4, 2, 2, 4), 4: (4, 4, 2, 4), 8: (8, 4, 2, 4)}


@pytest.mark.parametrize(("streams", "ratios"), PAPER.items())
def test_every_number_of_streams_gives_500_codes_a_second(streams, ratios):
    quantizer = QuantizerConfig(codebooks=streams, bins=2048 // streams)
    with torch.device("meta"):
        codec = Codec(CodecConfig(ratios=ratios, quantizer=quantizer, norm="layer"))
    assert codec.hop == 32 * streams
    assert codec.frame_rate == 500 / streams
    assert codec.bit_rate == 500 * (12 - streams.bit_length())


@settings(max_examples=25, deadline=None)
@given(
    samples=st.integers(1, 400),
    causal=st.booleans(),
    norm=st.sampled_from(["weight", "layer", "time_group", "none"]),
    pad_mode=st.sampled_from(["constant", "reflect"]),
    shortcut=st.sampled_from(["identity", "conv"]),
    channels=st.integers(1, 2),
)
def test_any_length_comes_back_exactly(samples, causal, norm, pad_mode, shortcut, channels):
    choices = {"causal": causal, "norm": norm, "pad_mode": pad_mode, "shortcut": shortcut, "channels": channels}
    model = codec(**choices, residual_units=2, lstm_layers=0)
    wave = torch.randn(2, channels, samples)
    with torch.no_grad():
        out = model(wave)
        codes = model.encode(wave)
        assert out.audio.shape == wave.shape
        assert codes.shape == (2, 3, -(-samples // 40))
        assert torch.equal(out.codes, codes)
        torch.testing.assert_close(model.decode(codes, samples), out.audio, rtol=1e-3, atol=1e-3)
        assert model.decode(codes[:, :1]).shape == (2, channels, codes.shape[-1] * 40)


def test_a_causal_codec_does_not_see_the_future():
    model = codec(causal=True)
    wave = torch.randn(1, 1, 800)
    changed = wave.clone()
    changed[..., 400:] += 1
    with torch.no_grad():
        a, b = (model.decoder(model.encoder(x)) for x in (wave, changed))
    assert torch.equal(a[..., :400], b[..., :400])
    assert not torch.equal(a, b)


def test_a_clip_does_not_depend_on_its_batch_mates():
    model = codec()
    wave = torch.randn(3, 1, 800)
    with torch.no_grad():
        torch.testing.assert_close(model(wave).audio[1:2], model(wave[1:2]).audio)


def test_the_same_seed_gives_the_same_codec():
    wave = torch.randn(1, 1, 400)
    assert torch.equal(codec()(wave).audio, codec()(wave).audio)


def test_a_codec_survives_its_folder(tmp_path):
    model = codec().train()
    model(torch.randn(2, 1, 4000))
    model.eval()
    model.save_pretrained(tmp_path / "codec")
    again = Codec.from_pretrained(tmp_path / "codec")
    wave = torch.randn(1, 1, 1000)
    assert again.config == model.config
    assert torch.equal(again.encode(wave), model.encode(wave))
    torch.testing.assert_close(again(wave).audio, model(wave).audio)


def test_a_codec_cast_to_bfloat16_still_decodes():
    model = codec()
    wave = 0.1 * torch.randn(1, 1, 800)
    expected = model.decoder(model.encoder(wave))
    model.bfloat16()
    out = model(wave.bfloat16())
    assert out.audio.dtype == torch.float32
    assert model.decode(out.codes, 800).shape == wave.shape
    torch.testing.assert_close(model.decoder(model.encoder(wave.bfloat16())).float(), expected, rtol=0.2, atol=0.05)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (torch.zeros(1, 2, 800), r"takes waves \[B, 1, T\], not \[1, 2, 800\]"),
        (torch.zeros(800), r"takes waves \[B, 1, T\], not \[800\]"),
        (torch.zeros(1, 1, 0), "at least one sample"),
        (torch.zeros(1, 1, 800, dtype=torch.int16), "float samples"),
        (torch.full((1, 1, 800), torch.nan), "finite samples"),
        (torch.full((1, 1, 800), torch.inf), "finite samples"),
    ],
)
def test_what_is_no_wave_is_told_before_any_work(wave, message):
    model = codec()
    with pytest.raises(ValueError, match=message):
        model.encode(wave)
    if wave.isfinite().all():
        with pytest.raises(ValueError, match=message):
            model(wave)


def test_any_number_of_codebooks_decodes():
    model, wave = codec(), torch.randn(1, 1, 800)
    codes = model.encode(wave)
    heard = [model.decode(codes[:, :k], 800) for k in (1, 2, 3)]
    for k, audio in enumerate(heard, 1):
        torch.testing.assert_close(audio, model(wave, k).audio)
    assert not torch.equal(heard[0], heard[1])


def test_a_config_without_strides_is_refused():
    with pytest.raises(ValidationError, match="ratios"):
        config(ratios=())


KINDS = [{}, {"causal": True, "pad_mode": "reflect", "shortcut": "conv", "norm": "layer"}, {"channels": 2}]


@pytest.mark.parametrize("changes", [*KINDS, {"norm": "time_group"}, {"residual_units": 3, "pad_mode": "replicate"}])
@pytest.mark.parametrize("samples", [1, 39, 4003])
def test_inference_is_what_training_computes(changes, samples):
    """Without gradients the layers take other ways, and weights are folded."""
    model = codec(**changes).double()
    wave = torch.randn(2, model.channels, samples, dtype=torch.float64)
    latents = model.encoder(wave)
    audio = model.decoder(latents)
    with torch.no_grad():
        for quick in (model, model.fold()):
            torch.testing.assert_close(quick.encoder(wave), latents)
            torch.testing.assert_close(quick.decoder(latents), audio)


@pytest.mark.parametrize("norm", ["weight", "layer", "time_group", "none"])
def test_silence_has_gradients_of_the_size_of_those_of_sound(norm):
    model, sizes = codec(norm=norm, ratios=(4, 2, 2, 2)), []
    for wave in (0.1 * torch.randn(2, 1, 640), torch.zeros(2, 1, 640)):
        model.zero_grad()
        (model.decoder(model.encoder(wave)) - wave - 0.1).abs().mean().backward()
        sizes.append(sum(p.grad.square().sum() for p in model.parameters() if p.grad is not None).sqrt().item())
    assert 0 < sizes[1] < 100 * sizes[0]


@pytest.mark.parametrize("norm", ["weight", "layer", "time_group", "none"])
def test_what_comes_out_follows_what_goes_in(norm):
    model = codec(norm=norm)
    first, second = (model.decoder(torch.randn(1, model.config.dimension, 20)) for _ in range(2))
    assert first.std() > 0.05
    assert (first - second).std() > 0.05


def test_evaluation_under_autocast_is_near_that_in_float32():
    model, wave = codec(lstm_layers=1).eval(), torch.randn(2, 1, 400)
    with torch.no_grad():
        exact = model.decoder(model.encoder(wave))
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model.decoder(model.encoder(wave))
    torch.testing.assert_close(rounded.float(), exact, rtol=0.2, atol=0.05)


def test_inference_changes_neither_wave_nor_codes():
    model = codec().fold()
    wave = torch.randn(1, 1, 400)
    before = wave.clone()
    with torch.inference_mode():
        codes = model.encode(wave)
        kept = codes.clone()
        model.decode(codes)
    assert torch.equal(wave, before)
    assert torch.equal(codes, kept)


def test_a_folded_codec_and_its_original_read_each_other(tmp_path):
    model = codec()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1.3 if name.endswith("weight_v") else 0.8)
    folded = codec().fold()
    folded.load_state_dict(model.state_dict())
    folded.save_pretrained(tmp_path / "codec")
    again = Codec.from_pretrained(tmp_path / "codec")
    assert folded.state_dict().keys() == again.state_dict().keys() == model.state_dict().keys()
    assert sum(p.numel() for p in folded.parameters()) < sum(p.numel() for p in model.parameters())
    latents = torch.randn(1, 8, 20)
    expected = model.decoder(latents)
    for read in (folded, again, again.fold()):
        torch.testing.assert_close(read.decoder(latents), expected)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("changes", KINDS[:2])
def test_a_codec_compiles_in_one_piece(changes, fold):
    """LSTMs want `allow_rnn`, which torch calls experimental; compiled, the ELU is torch's own."""
    torch._dynamo.reset()
    model = codec(**changes).fold() if fold else codec(**changes)
    wave = torch.randn(1, 1, 403)
    with torch.inference_mode(), torch._dynamo.config.patch(allow_rnn=True):
        codes = torch.compile(model.encode, fullgraph=True, backend="eager")(wave)
        audio = torch.compile(model.decode, fullgraph=True, backend="eager")(codes)
        assert torch.equal(codes, model.encode(wave))
        torch.testing.assert_close(audio, model.decode(codes), rtol=1e-4, atol=1e-4)
