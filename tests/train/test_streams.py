import pytest

from t2a.config import validate
from t2a.errors import ConfigError
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.codec import Codec, CodecConfig
from t2a.models.kl1d import Kl1dConfig
from t2a.nn.quantize import QuantizerConfig
from t2a.train.run import Run
from t2a.train.streams import follow_autoencoder, follow_codec

SIZES = {"codebooks": None, "bins": None, "max_frames": None, "max_seconds": 3}


def recipe(codec: str, **data) -> dict:
    settings = {"kind": "codes", "uri": "codes", "codebooks": None, "crop_frames": None, "crop_seconds": 2} | data
    task = {"kind": "lm", "codec": codec, "model": {"width": 32, "heads": 2, **SIZES}}
    return {
        "name": "lm", "out": "runs", "steps": 1, "batch_size": 2, "task": task, "data": settings,
        "optim": {"lm": {"lr": 1e-3}},
    }  # fmt: skip


@pytest.mark.parametrize("streams", [1, 2, 4])
def test_one_recipe_serves_any_number_of_streams(streams, tmp_path):
    quantizer = QuantizerConfig(codebooks=streams, bins=512 // streams)
    ratios = {1: (2, 2, 2, 4), 2: (2, 2, 4, 4), 4: (2, 4, 4, 4)}[streams]
    config = CodecConfig(filters=2, dimension=4, lstm_layers=0, ratios=ratios, quantizer=quantizer)
    Codec(config).save_pretrained(tmp_path)
    run = validate(Run, recipe(str(tmp_path)), "recipe")
    model = run.task.model
    assert (model.codebooks, model.bins) == (streams, 512 // streams)
    assert (run.data.codebooks, run.data.crop_frames, model.max_frames) == (streams, 1000 // streams, 1500 // streams)
    again = validate(Run, run.model_dump(mode="json"), "recipe")
    assert again == run
    run.task.build()


def test_what_a_recipe_says_itself_stays_and_needs_no_codec():
    settings = recipe("nowhere", codebooks=2, crop_frames=9)
    settings["task"]["model"] = {"codebooks": 2, "bins": 16, "max_frames": 99}
    del settings["data"]["crop_seconds"]
    assert follow_codec(settings) == settings


@pytest.mark.parametrize("where", ["nowhere/at/all", 7, None])
def test_a_codec_that_is_not_there_is_told(where):
    with pytest.raises(ConfigError, match=r"leaves sizes to task\.codec"):
        validate(Run, recipe(where), "recipe")


def test_seconds_that_are_none_are_told(tmp_path):
    Codec(CodecConfig(filters=2, dimension=4, lstm_layers=0, ratios=(2, 2))).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.crop_seconds is 0"):
        validate(Run, recipe(str(tmp_path), crop_seconds=0), "recipe")


def test_an_autoencoder_decides_what_a_recipe_of_its_latents_leaves_open(tmp_path):
    config = AutoencoderConfig(network=Kl1dConfig(latent=3, widths=(8, 8, 8), blocks=1))  # 15.625 frames a second
    Autoencoder(config).save_pretrained(tmp_path)
    model = {"latent": None, "max_frames": None, "max_seconds": 10}
    data = {"kind": "latents", "uri": "latents", "latent": None, "crop_frames": None, "crop_seconds": 4}
    settings = {"task": {"autoencoder": str(tmp_path), "model": model}, "data": data}
    sized = follow_autoencoder(settings)
    assert sized["task"]["model"] == {"latent": (3,), "max_frames": 157}
    assert sized["data"] == {"kind": "latents", "uri": "latents", "latent": (3,), "crop_frames": 63}
    assert follow_autoencoder(sized) == sized
    told = follow_autoencoder(settings | {"data": data | {"latent": [4], "crop_frames": 7}})
    assert (told["data"]["latent"], told["data"]["crop_frames"]) == ([4], 7)
    with pytest.raises(ConfigError, match=r"leaves sizes to task\.autoencoder"):
        follow_autoencoder({"task": {"autoencoder": "nowhere/at/all", "model": model}, "data": data})
