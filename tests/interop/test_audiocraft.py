"""AudioCraft's layout, the encodec package as the oracle, and pickles that want to do harm."""

import io
import os
import pickle
import re
import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from encodec.model import EncodecModel

from t2a.errors import CheckpointError, ConfigError
from t2a.interop import audiocraft
from t2a.interop.encodec import assemble, convert, own_names
from t2a.models import segments
from t2a.models.codec import Codec, CodecConfig
from tests.interop import peers
from tests.interop.parity import same_codes, sound

KEYS = Path(__file__).parent / "keys"
CONFIG = {
    "sample_rate": 16000,
    "channels": 1,
    "encodec": {"sample_rate": "${sample_rate}", "causal": False, "renormalize": False},
    "seanet": {
        "causal": "${encodec.causal}",
        "activation": "ELU",
        "norm": "weight_norm",
        "pad_mode": "constant",
        "dilation_base": 2,
        "n_residual_layers": 1,
        "decoder": {"trim_right_ratio": 1.0, "final_activation": None},
    },
    "rvq": {"q_dropout": False},
}


@torch.no_grad()
def compare(model: EncodecModel, codec: Codec, seconds: float, codebooks: int) -> None:
    wave = sound(seconds, model.sample_rate, model.channels, seed=3)
    model.bandwidth = codebooks * model.frame_rate * 10 / 1000
    theirs = model.encode(wave)
    ours = segments.encode(codec, wave, codebooks)
    assert theirs[0][0].shape[1] == codebooks
    for part, (a, b), (codes, scale) in zip(ours, segments.spans(codec.config, wave.shape[-1]), theirs, strict=True):
        same_codes(codec, wave[..., a:b], part.codes, codes)
        assert (part.scale is None) == (scale is None)
        if scale is not None:
            torch.testing.assert_close(part.scale, scale[:, 0], rtol=1e-6, atol=0)
    given = [part._replace(codes=codes) for part, (codes, _) in zip(ours, theirs, strict=True)]
    decoded = model.decode(theirs)
    assert decoded.abs().max() > 1e-2
    torch.testing.assert_close(segments.decode(codec, given), decoded, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "seconds"), [("encodec_24khz", 0.613), ("encodec_48khz", 2.3)])
def test_a_model_of_the_encodec_package_has_the_same_codes_and_waves_here(name, seconds, tmp_path):
    model = peers.build(name)
    torch.save(model.state_dict() | {}, tmp_path / "model.th")
    options = {"sample_rate": model.sample_rate, "causal": seconds < 1, "pad_mode": "reflect"}
    codec = audiocraft.load(tmp_path / "model.th", **options)
    if model.normalize:  # what a file of fewer filters than the released one has does not tell
        changed = codec.config.model_copy(update={"normalise": True, "segment_seconds": 1.0})
        again = Codec(changed).eval()
        again.load_state_dict(codec.state_dict())
        codec = again
    for codebooks in (1, 4):
        compare(model, codec, seconds, codebooks)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["encodec_24khz", "encodec_48khz"])
def test_a_model_of_the_encodec_package_of_the_released_size_needs_no_options(name, tmp_path):
    torch.manual_seed(0)
    model = peers.filled(getattr(EncodecModel, name.replace("encodec", "encodec_model"))(pretrained=False))
    torch.save(model.state_dict(), tmp_path / "model.th")
    codec = audiocraft.load(tmp_path / "model.th")
    assert codec.codebooks == model.quantizer.n_q
    for codebooks in (2, codec.codebooks):
        compare(model, codec, 3.1, codebooks)


def shapes(layout: str) -> dict[str, list[int]]:
    """The names and shapes of a released codec's tensors."""
    lines = (line.split("\t") for line in (KEYS / f"{layout}.txt").read_text().splitlines())
    return {name: [int(size) for size in re.findall(r"\d+", shape)] for name, shape, _ in lines}


def tensors(layout: str) -> dict[str, torch.Tensor]:
    """Random tensors of a released codec's names, with eight times fewer filters and codes."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name, sizes in shapes(layout).items():
        kernels = 2 if name.endswith(("weight_g", "weight_v")) else len(sizes)  # which stay as long as they are
        small = [s if s < 8 or i >= kernels else s // 8 for i, s in enumerate(sizes)]
        made[name] = 0.1 + torch.rand(small, generator=generator)
    return made


def exported(folder: Path, state: dict[str, torch.Tensor], config=CONFIG, **more) -> Path:
    package = {"best_state": state, "xp.cfg": yaml.safe_dump(config), "version": "1.4", "exported": True} | more
    torch.save(package, folder / "compression_state_dict.bin")
    return folder


@pytest.mark.parametrize(("layout", "rate", "hop"), [("encodec_16k", 16000, 320), ("encodec_32k", 32000, 640)])
def test_an_exported_codec_becomes_one_here(layout, rate, hop, tmp_path):
    state = tensors(layout)
    folder = exported(tmp_path, state, CONFIG | {"sample_rate": rate})
    convert(lambda: audiocraft.load(folder), str(tmp_path / "out"))
    codec = Codec.from_pretrained(tmp_path / "out")
    assert (codec.sample_rate, codec.hop, codec.codebooks, codec.bins) == (rate, hop, 4, 256)
    assert (codec.config.filters, codec.config.lstm_layers, codec.config.pad_mode) == (8, 2, "constant")
    assert torch.equal(codec.decoder[3].weight_v, state["decoder.model.3.convtr.convtr.weight_v"])
    assert torch.equal(codec.quantizer.codebook[2], state["quantizer.vq.layers.2._codebook.embed"])
    assert codec(sound(0.1, rate, 1)).audio.shape == (1, 1, rate // 10)


@pytest.mark.parametrize(("layout", "rate"), [("encodec_16k", 16000), ("encodec_32k", 32000)])
def test_a_released_codec_without_a_configuration_is_known_by_its_shapes(layout, rate):
    with torch.device("meta"):
        own = own_names({name: torch.empty(shape) for name, shape in shapes(layout).items()}, "it")
    config = assemble(audiocraft.settings(audiocraft.layout(own, "it"), {}, {}, "it"), own, "it").config
    assert config == CodecConfig(sample_rate=rate, ratios=(8, 5, 4, rate // 8000))


def test_what_nothing_tells_is_asked_for(tmp_path):
    exported(tmp_path, tensors("encodec_16k"), None)
    with pytest.raises(ConfigError, match="give --sample-rate, --causal, --pad-mode"):
        audiocraft.load(tmp_path)
    codec = audiocraft.load(tmp_path, sample_rate=22050, causal=True, pad_mode="reflect")
    assert (codec.sample_rate, codec.config.causal, codec.config.pad_mode) == (22050, True, "reflect")


def test_the_configuration_of_the_file_is_followed(tmp_path):
    config = CONFIG | {"encodec": {"causal": True, "renormalize": True}, "rvq": {"q_dropout": True}}
    config["seanet"] = CONFIG["seanet"] | {"pad_mode": "reflect"}
    codec = audiocraft.load(exported(tmp_path, tensors("encodec_16k"), config))
    assert codec.config.causal
    assert codec.config.normalise
    assert codec.config.quantizer.dropout
    assert codec.config.pad_mode == "reflect"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"activation": "SiLU"}, "seanet.activation is SiLU"),
        ({"norm": "spectral_norm"}, "seanet.norm is spectral_norm"),
        ({"dilation_base": 3, "n_residual_layers": 2}, "seanet.dilation_base is 3"),
        ({"decoder": {"final_activation": "Tanh"}}, "seanet.decoder.final_activation is Tanh"),
        ({"pad_mode": "circular"}, "pad_mode"),
    ],
)
def test_a_configuration_that_no_codec_here_has_is_refused(changes, told, tmp_path):
    exported(tmp_path, tensors("encodec_16k"), CONFIG | {"seanet": CONFIG["seanet"] | changes})
    with pytest.raises(CheckpointError, match=told):
        audiocraft.load(tmp_path)


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s | {"encoder.model.0.conv.conv.alpha": torch.zeros(2)}, r"1 unexpected \(encoder.0.alpha\)"),
        (lambda s: without(s, "decoder.model.1.lstm.bias_hh_l1"), r"1 missing \(decoder.1.lstm.bias_hh_l1\)"),
        (lambda s: without(s, "encoder.model.0.conv.conv.weight_v"), "encoder or decoder is not in it"),
        (lambda s: without(s, "quantizer.vq.layers.0._codebook.inited"), "lacks 1 .*layers.0._codebook.inited"),
        (lambda s: {"emb.0.weight": torch.zeros(2)}, "language model"),
        (lambda s: s | {"note": "text"}, r"no tensors \(note\)"),
        (lambda s: {}, "tensors by name"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, told, tmp_path):
    folder = exported(tmp_path, change(tensors("encodec_16k")))
    with pytest.raises(CheckpointError, match=told):
        convert(lambda: audiocraft.load(folder), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_pointer_names_what_it_points_to(tmp_path):
    torch.save({"pretrained": "facebook/encodec_32khz", "exported": True}, tmp_path / "compression_state_dict.bin")
    with pytest.raises(CheckpointError, match="t2a import huggingface facebook/encodec_32khz OUT"):
        audiocraft.load(tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nor a folder with"):
        audiocraft.load(tmp_path)
    whole = exported(tmp_path, tensors("encodec_16k")) / "compression_state_dict.bin"
    for data in (b"", b"RIFF....WAVE", pickle.dumps({"a": 1}), whole.read_bytes()[:-5000], whole.read_bytes()[:5000]):
        (tmp_path / "damaged.bin").write_bytes(data)
        with pytest.raises(CheckpointError, match=r"damaged\.bin"):
            audiocraft.load(tmp_path / "damaged.bin")
    torch.save([1, 2], tmp_path / "list.bin")
    with pytest.raises(CheckpointError, match="holds a list"):
        audiocraft.load(tmp_path / "list.bin")


@pytest.fixture
def omegaconf(monkeypatch):
    """Classes that pickle as OmegaConf's do, in a module that is gone when they are read."""
    module = types.ModuleType("omegaconf_stand_in")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("DictConfig", "ListConfig", "AnyNode"):
        made = type(name, (), {"__module__": module.__name__})
        setattr(module, name, made)

    def node(value, parent=None):
        kind = {dict: "DictConfig", list: "ListConfig"}.get(type(value), "AnyNode")
        made = getattr(module, kind)()
        if kind == "AnyNode":
            made.__dict__.update(_metadata={}, _parent=parent, _val=value)
        else:
            content = (
                [node(v, made) for v in value] if kind == "ListConfig" else {k: node(v, made) for k, v in value.items()}
            )
            made.__dict__.update(_metadata={}, _parent=parent, _content=content)
        return made

    return node


def test_a_training_checkpoint_is_read_without_its_classes(omegaconf, tmp_path, monkeypatch):
    state = tensors("encodec_16k") | {"decoder.model.0.conv.conv.bias": torch.nn.Parameter(torch.arange(128.0))}
    package = {"best_state": {"model": state}, "xp.cfg": omegaconf(CONFIG), "history": [1, 2]}
    torch.save(package, tmp_path / "checkpoint.th")
    monkeypatch.delitem(sys.modules, "omegaconf_stand_in")
    codec = audiocraft.load(tmp_path / "checkpoint.th")
    assert codec.sample_rate == 16000
    assert torch.equal(codec.decoder[0].bias, torch.arange(128.0))
    assert torch.equal(codec.decoder[3].weight_v, state["decoder.model.3.convtr.convtr.weight_v"])
    assert audiocraft.configuration(omegaconf({"a": [1, {"b": None}]}), "x") == {}  # an object is not read, a state is


class Malicious:
    """A pickle that makes a file by `how` when it is loaded in the ordinary way."""

    def __init__(self, target: Path, how: str) -> None:
        self.target, self.how = target, how

    def __reduce__(self):
        if self.how == "system":
            return os.system, (f"touch {self.target}",)
        if self.how == "eval":
            return eval, (f"open({str(self.target)!r}, 'w')",)
        return io.open, (str(self.target), "w")


@pytest.mark.parametrize("how", ["system", "eval", "open"])
def test_code_in_a_checkpoint_is_never_run(how, tmp_path):
    target = tmp_path / "created"
    exported(tmp_path, tensors("encodec_16k"), solver=Malicious(target, how))
    assert audiocraft.load(tmp_path).sample_rate == 16000
    exported(tmp_path, tensors("encodec_16k") | {"encoder.model.0.conv.conv.bias": Malicious(target, how)})
    with pytest.raises(CheckpointError, match=r"no tensors \(encoder.model.0.conv.conv.bias\)"):
        audiocraft.load(tmp_path)
    (tmp_path / "bare.bin").write_bytes(pickle.dumps(Malicious(target, how)))
    torch.save(Malicious(target, how), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    torch.save(Malicious(target, how), tmp_path / "new.bin")
    for name in ("bare.bin", "old.bin", "new.bin"):
        with pytest.raises(CheckpointError):
            audiocraft.load(tmp_path / name)
    assert not target.exists()
    torch.load(tmp_path / "new.bin", weights_only=False)
    assert target.exists(), "this test's pickle does no harm, so it proves nothing"


def test_a_tensor_that_reaches_outside_its_storage_is_refused(tmp_path):
    class Outside:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (storage, 10, (4,), (1,), False, {})

    storage = torch.zeros(4).storage()
    torch.save({"foreign": Malicious(tmp_path / "x", "open"), "best_state": {"x": Outside()}}, tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match="out of bounds"):
        audiocraft.load(tmp_path / "x.bin")


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    exported(tmp_path, tensors("encodec_16k"), solver=Malicious(tmp_path / "x", "open"))
    with (
        zipfile.ZipFile(tmp_path / "compression_state_dict.bin") as archive,
        zipfile.ZipFile(tmp_path / "small.bin", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    with pytest.raises(CheckpointError, match=r"small\.bin"):
        audiocraft.load(tmp_path / "small.bin")
