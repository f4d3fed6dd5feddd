from pathlib import Path

import numpy as np
import pytest
import torch

from t2a.audio.io import decode, encode_flac
from t2a.audio.spectral import MelSpec
from t2a.conditions.melody import ChromaConfig
from t2a.data import pipeline
from t2a.data.batch import batches, held_out
from t2a.data.plan import Plan
from t2a.data.position import Position
from t2a.data.rows import LatentsConfig
from t2a.data.schema import unpack_latents
from t2a.data.shards import read_manifest, read_rows
from t2a.errors import CheckpointError, ConfigError, DataError
from t2a.generate.latents import LatentEncoder, precompute_latents
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.kl1d import Kl1dConfig
from t2a.models.kl2d import Kl2dConfig
from tests.generate.test_codes import RATE, a_row, corpus

MEL = MelSpec(rate=RATE, n_fft=256, hop=64, n_mels=16, log="ln")
NETWORKS = {
    "1d": (Kl1dConfig(latent=3, widths=(8, 12, 16), blocks=1), (3,)),
    "2d": (Kl2dConfig(latent=2, width=8, multipliers=(1, 1, 2), blocks=1, groups=4, attention=()), (2, 4)),
}
MELODY = ChromaConfig(kind="chroma", sample_rate=RATE, window=256)


def autoencoder(folder: Path, kind: str = "1d") -> Path:
    torch.manual_seed(0)
    model = Autoencoder(AutoencoderConfig(mel=MEL, network=NETWORKS[kind][0]))
    model.latents.mean.fill_(0.1)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", NETWORKS)
def test_rows_keep_what_they_are_and_their_latents_are_the_autoencoder_s(kind, tmp_path):
    folder = autoencoder(tmp_path / "autoencoder", kind)
    rows = [a_row(i, s, split="valid" if i == 3 else "train") for i, s in enumerate([0.5, 0.1, 0.5, 0.103])]
    where = corpus(tmp_path / "audio", rows)
    manifest = precompute_latents(where, str(tmp_path / "latents"), str(folder), encoders={"melody": MELODY})
    assert manifest.kind == "latents"
    assert manifest.made_from["autoencoder"] == str(folder)
    assert len(manifest.made_from["autoencoder_sha256"]) == 64
    made = [row for split in ("train", "valid") for row in read_rows(str(tmp_path / "latents"), split)]
    model = Autoencoder.from_pretrained(folder)
    for row, source in zip(made, rows, strict=True):
        for name in ("id", "captions", "split", "seconds", "source", "licence", "category"):
            assert row[name] == source[name]
        assert row["frame_rate"] == RATE / 64 / 4
        with torch.inference_mode():
            expected = model.encode(model.mel(torch.from_numpy(decode(source["audio"]["bytes"])[0])[None]))[0]
        assert expected.shape[:-1] == NETWORKS[kind][1]
        np.testing.assert_allclose(unpack_latents(row["latents"]), expected.numpy(), atol=2e-3, rtol=2e-3)
        assert len(row["states_melody"]) == 1
    assert "audio" not in made[0]


def test_a_corpus_is_never_written_over_what_it_is_made_of(tmp_path):
    where, folder = corpus(tmp_path / "audio", [a_row(i, 0.2) for i in range(2)]), autoencoder(tmp_path / "autoencoder")
    for out in (where, f"{where}/", f"{where}/../audio"):
        with pytest.raises(DataError, match="is what would be read: choose another place"):
            precompute_latents(where, out, str(folder), overwrite=True)
    assert len(list(read_rows(where, "train"))) == 2


def test_clips_without_a_sample_at_the_autoencoder_s_rate_are_counted(tmp_path):
    click = encode_flac(np.full((1, 1), 0.1, np.float32), 3 * RATE)
    rows = [a_row(0, 0.2), a_row(1, 0.2) | {"audio": {"bytes": click, "path": "1.flac"}, "sample_rate": 3 * RATE}]
    where, folder = corpus(tmp_path / "audio", rows), autoencoder(tmp_path / "autoencoder")
    manifest = precompute_latents(where, str(tmp_path / "latents"), str(folder), max_skipped=0.5)
    assert manifest.skipped == {"empty": 1}
    assert sum(shard.rows for shard in manifest.shards) == 1


def test_training_and_evaluation_read_crops_with_their_states(tmp_path):
    folder = autoencoder(tmp_path / "autoencoder", "2d")
    where = corpus(tmp_path / "audio", [a_row(i, 0.5) for i in range(6)])
    uri = str(tmp_path / "latents")
    precompute_latents(where, uri, str(folder), encoders={"melody": MELODY})
    config = LatentsConfig(uri=uri, latent=(2, 4), crop_frames=8, window=8)
    plan = Plan(read_manifest(uri), "train", seed=1)
    task = {"first": np.array([0]), "stop": np.array([1])}
    blocks = pipeline._read(task, config=config, plan=plan, position=Position(), block_rows=4)
    for batch in (next(batches(blocks, config, 6, Position())), held_out(config, "train", 4, 0, 1, 6)[1]):
        rows = len(batch["ids"])
        assert (batch["latents"].shape, batch["latents"].dtype) == ((rows, 2, 4, 8), torch.float32)
        assert batch["states"]["melody"].condition.tokens.shape[0] == rows
    assert batch["weight"].tolist() == [1, 1, 0, 0]
    assert batch["length"].tolist() == [8] * 4  # what only fills up is as long as any other


def test_latents_do_not_depend_on_what_is_encoded_beside(tmp_path):
    encoder, random = LatentEncoder(autoencoder(tmp_path)), np.random.default_rng(0)
    waves = [0.3 * random.standard_normal((1, length)).astype(np.float32) for length in (900, 897, 3000, 900)]
    for together, wave in zip(encoder(waves), waves, strict=True):
        np.testing.assert_allclose(together, encoder([wave])[0], atol=1e-5)


def test_an_autoencoder_that_is_none_or_broken_is_told(tmp_path):
    where = corpus(tmp_path / "audio", [a_row(0, 0.2)])
    folder = autoencoder(tmp_path / "autoencoder")
    broken = Autoencoder.from_pretrained(folder)
    broken.latents.std.zero_()
    broken.save_pretrained(tmp_path / "broken")
    with pytest.raises(CheckpointError, match=r"broken cannot be stored: .* use another checkpoint"):
        precompute_latents(where, str(tmp_path / "latents"), str(tmp_path / "broken"))
    assert not list((tmp_path / "latents").glob("*"))
    (folder / "config.json").write_text((folder / "config.json").read_text().replace('"autoencoder"', '"clap"'))
    with pytest.raises(ConfigError, match="holds a clap, latents are made by an autoencoder"):
        precompute_latents(where, str(tmp_path / "latents"), str(folder))
