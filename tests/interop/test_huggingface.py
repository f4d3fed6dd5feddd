"""Parity with transformers' EncodecModel, and what is refused."""

import json
import shutil

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import EncodecConfig, EncodecModel

from t2a.errors import CheckpointError, ConfigError
from t2a.interop import huggingface
from t2a.interop.encodec import convert
from t2a.models import segments
from t2a.models.codec import Codec
from tests.interop.parity import fill, same_codes, sound

STRUCTURES = {
    "24 kHz": {"target_bandwidths": [1.5, 3.0, 6.0]},
    "48 kHz": {
        "target_bandwidths": [3.0, 6.0],
        "sampling_rate": 48000,
        "audio_channels": 2,
        "normalize": True,
        "chunk_length_s": 1.0,
        "overlap": 0.01,
        "norm_type": "time_group_norm",
        "use_causal_conv": False,
    },
    "32 kHz": {
        "target_bandwidths": [2.2],
        "sampling_rate": 32000,
        "upsampling_ratios": [8, 5, 4, 4],
        "codebook_size": 2048,
        "use_causal_conv": False,
        "use_conv_shortcut": False,
    },
    "16 kHz": {
        "target_bandwidths": [2.2],
        "sampling_rate": 16000,
        "codebook_size": 2048,
        "use_causal_conv": False,
        "use_conv_shortcut": False,
        "pad_mode": "constant",
    },
    "other": {
        "target_bandwidths": [1.6, 6.4],
        "sampling_rate": 8000,
        "upsampling_ratios": [5, 4],
        "codebook_size": 16,
        "num_residual_layers": 3,
        "num_lstm_layers": 1,
        "kernel_size": 5,
        "last_kernel_size": 5,
        "hidden_size": 12,
    },
}
FILTERS = {"24 kHz": 32, "48 kHz": 32, "32 kHz": 64, "16 kHz": 64}
BANDWIDTHS = {"24 kHz": [1.5, 3.0, 6.0, 12.0, 24.0], "48 kHz": [3.0, 6.0, 12.0, 24.0]}


@torch.no_grad()
def encodec_model(name: str, **changes) -> EncodecModel:
    torch.manual_seed(0)
    small = {"num_filters": 4, "hidden_size": 16}
    model = EncodecModel(EncodecConfig(**small | STRUCTURES[name] | changes)).eval()
    latents = model.encoder(sound(0.5, model.config.sampling_rate, model.config.audio_channels))
    fill([layer.codebook for layer in model.quantizer.layers], latents)
    return model


@torch.no_grad()
def compare(model: EncodecModel, codec: Codec, seconds: float) -> None:
    config = model.config
    wave = sound(seconds, config.sampling_rate, config.audio_channels, seed=3)
    for bandwidth in config.target_bandwidths:
        theirs = model.encode(wave, bandwidth=bandwidth, return_dict=True)
        count = theirs.audio_codes.shape[2]
        ours = segments.encode(codec, wave, count)
        for part, (a, b), codes in zip(
            ours, segments.spans(codec.config, wave.shape[-1]), theirs.audio_codes, strict=True
        ):
            same_codes(codec, wave[..., a:b], part.codes, codes[..., : part.codes.shape[-1]])
        decoded = model.decode(
            theirs.audio_codes,
            theirs.audio_scales,
            last_frame_pad_length=theirs.last_frame_pad_length,
        )[0]
        again = segments.decode(
            codec,
            [
                part._replace(codes=codes[..., : part.codes.shape[-1]])
                for part, codes in zip(ours, theirs.audio_codes, strict=True)
            ],
        )
        assert decoded.abs().max() > 1e-2
        torch.testing.assert_close(again, decoded, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", STRUCTURES)
def test_an_encodec_model_has_the_same_codes_and_waves_here(name, tmp_path):
    model = encodec_model(name)
    model.save_pretrained(tmp_path / "theirs")
    convert(lambda: huggingface.load(str(tmp_path / "theirs")), str(tmp_path / "ours"))
    codec = Codec.from_pretrained(tmp_path / "ours")
    assert codec.codebooks == model.config.num_quantizers
    compare(model, codec, 2.3 if name == "48 kHz" else 0.613)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILTERS)
def test_an_encodec_model_of_the_released_size_has_the_same_codes_and_waves_here(name, tmp_path):
    bandwidths = BANDWIDTHS.get(name, STRUCTURES[name]["target_bandwidths"])
    model = encodec_model(name, num_filters=FILTERS[name], hidden_size=128, target_bandwidths=bandwidths)
    model.save_pretrained(tmp_path)
    compare(model, huggingface.load(str(tmp_path)), 3.1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encodec")
    model = encodec_model("other")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "encodec")


def edit(folder, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors")


def old_names(tensors):
    new = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    for there, here in new.items():
        tensors = {name.replace(there, here): tensor for name, tensor in tensors.items()}
    return tensors


def test_old_and_new_names_of_weight_norm_mean_the_same(saved, folder):
    edit(folder, old_names)
    assert any(name.endswith(".weight_g") for name in load_file(folder / "model.safetensors"))
    new, old = (huggingface.load(str(place)).state_dict() for place in (saved, folder))
    assert all(torch.equal(new[name], old[name]) for name in new)


def test_a_folder_with_a_pickle_of_tensors_is_read(saved, folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    new, old = (huggingface.load(str(place)).state_dict() for place in (saved, folder))
    assert all(torch.equal(new[name], old[name]) for name in new)


def test_half_precision_becomes_single(saved, folder):
    edit(folder, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    state = huggingface.load(str(folder)).state_dict()
    assert {tensor.dtype for name, tensor in state.items() if name != "quantizer.updates"} == {torch.float32}


def test_a_codec_that_is_trained_on_does_not_start_with_k_means(folder):
    codec = huggingface.load(str(folder)).train()
    before = codec.quantizer.codebook.clone()
    codec(sound(0.2, 8000, 1))
    assert codec.quantizer.updates == 2
    assert (codec.quantizer.codebook - before).norm() < 0.5 * before.norm()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t | {"encoder.layers.0.conv.extra": torch.zeros(1)}, r"1 unexpected \(encoder.0.extra\)"),
        (lambda t: {n: v for n, v in t.items() if n != "decoder.layers.0.conv.bias"}, r"1 missing \(decoder.0.bias\)"),
        (lambda t: {n: v for n, v in t.items() if n != "quantizer.layers.1.codebook.embed"}, "lacks .*layers.1.*embed"),
        (lambda t: t | {"encoder.layers.0.conv.bias": torch.zeros(7)}, r"encoder.0.bias \[7\] instead of \[4\]"),
        (lambda t: t | {"quantizer.layers.1.codebook.embed": torch.zeros(16, 3)}, "differ in shape"),
        (lambda t: {n: v.clone() for n, v in old_names(t).items()} | t, "a second time"),
        (lambda t: {"transformer.weight": torch.zeros(2)}, "no codec of EnCodec's kind"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, told, folder, tmp_path):
    edit(folder, change)
    with pytest.raises(CheckpointError, match=told):
        convert(lambda: huggingface.load(str(folder)), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model_type": "dac"}, "model_type"),
        ({"norm_type": "batch_norm"}, "norm_type"),
        ({"trim_right_ratio": 0.5}, "trim_right_ratio is 0.5"),
        ({"dilation_growth_rate": 3}, "dilation_growth_rate is 3"),
        ({"pad_mode": "circular"}, "pad_mode"),
        ({"num_filters": 8}, "of another shape"),
    ],
)
def test_settings_that_no_codec_here_has_are_refused(settings, told, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(CheckpointError, match=told):
        huggingface.load(str(folder))


def test_a_folder_without_weights_or_config_is_refused(folder, tmp_path):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut short"):
        huggingface.load(str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        huggingface.load(str(folder))
    with pytest.raises(CheckpointError, match=r"config.json does not describe"):
        huggingface.load(str(tmp_path))


def test_a_name_that_is_no_folder_is_asked_of_the_hub(saved, monkeypatch):
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, allow_patterns))
        if name != "someone/codec":
            raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub.\nmore")
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert huggingface.load("someone/codec").sample_rate == 8000
    assert asked == [("someone/codec", ["config.json", "model.safetensors"])]
    with pytest.raises(CheckpointError, match=r"no folder someone/else.*cannot reach the hub\)"):
        huggingface.load("someone/else")
    with pytest.raises(ConfigError, match="no folder"):
        huggingface.load("../no/such folder")


def test_what_is_there_is_not_overwritten(folder, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        convert(lambda: huggingface.load(str(folder)), str(tmp_path / "out"))
