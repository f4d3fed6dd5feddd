"""What the import of transformers' MusicGen reads, and what it refuses; see test_musicgen for what comes out."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

from t2a.conditions.encoder import Sounds
from t2a.config import load
from t2a.errors import CheckpointError
from t2a.interop import musicgen
from t2a.interop.language import convert
from t2a.models.lm import LM
from t2a.train.run import Run
from tests.conditions import peers
from tests.interop import musicgens


def test_a_melody_is_read_as_long_as_the_model_knows_it():
    chroma = musicgen._chroma(musicgen.Settings(**SETTINGS | {"model_type": "musicgen_melody"}), 32000)
    for seconds in (1, 10, 31):
        sound = Sounds(torch.randn(1, 1, 32000 * seconds), torch.tensor([32000 * seconds]), 32000)
        assert chroma.build()(sound).tokens.shape == (1, 235, 12)


SETTINGS = {"model_type": "musicgen", "audio_encoder": {"model_type": "encodec"}, "text_encoder": {"model_type": "t5"}}


@pytest.fixture(scope="module")
def mono(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    musicgens.saved(musicgens.build("mono"), folder)
    return folder


@pytest.fixture
def folder(mono, tmp_path) -> Path:
    return Path(shutil.copytree(mono, tmp_path / "source"))


def test_weights_in_several_files_of_an_older_version_are_the_same(mono, tmp_path):
    peer = musicgens.build("mono")
    positions = peer.decoder.model.decoder.embed_positions
    positions.register_buffer("weights", positions.weights, persistent=True)
    peer.save_pretrained(tmp_path, max_shard_size="20KB")
    peers.tokenizer(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    found, expected = (musicgen.load(str(folder)).model.state_dict() for folder in (tmp_path, mono))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_the_recipes_of_its_sizes_have_as_many_parameters(size):
    config = load(Run, f"jobs/recipes/musicgen-{size}.yaml").task.model
    shape = {"hidden_size": config.width, "num_hidden_layers": config.layers, "num_attention_heads": config.heads}
    with torch.device("meta"):
        model = LM(config)
        peer = MusicgenForCausalLM(MusicgenDecoderConfig(**shape, ffn_dim=4 * config.width))
        projection = torch.nn.Linear(768, config.width)
    ours, theirs = (sum(p.numel() for m in models for p in m.parameters()) for models in ([model], [peer, projection]))
    assert ours - config.width == theirs  # the null


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"activation_function": "relu"}, "decoder.activation_function is relu, t2a knows gelu only"),
        ({"pad_token_id": 3}, "decoder.pad_token_id is 3, t2a knows 16 only"),
        ({"num_codebooks": 2}, "decoder.num_codebooks is 2, t2a knows 4 only"),
        ({"num_attention_heads": 5}, "multiple of 2 \\* heads"),
        ({"num_hidden_layers": 3}, "lacks decoder.model.decoder.layers.2"),
        ({"num_hidden_layers": 1}, "unexpected .*layers.1"),
        ({"vocab_size": "many"}, "does not describe a MusicGen .*vocab_size"),
    ],
)
def test_what_no_model_here_can_be_is_refused(changes, told, folder):
    config = json.loads((folder / "config.json").read_text())
    config["decoder"] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=told):
        musicgen.load(str(folder))


def test_a_checkpoint_without_its_tokenizer_is_refused(folder, tmp_path):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json and no spiece\.model"):
        convert(lambda: musicgen.load(str(folder)), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
