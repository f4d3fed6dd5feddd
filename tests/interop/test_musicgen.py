"""Parity with transformers' MusicGen. Compared, in float32, are random weights at small sizes:

- logits of the whole model (T5, projection, decoder) for prompts of several lengths in one batch, and for none;
- the codes that both choose greedily in 100 steps, with guidance and without;
- each for mono, stereo (codes of left and right interleaved) and melody, whose chroma is given as states.

Where transformers computes something else on purpose is said beside the test. Not compared: the released weights,
half precision, the T5 and the codec by themselves (see test_huggingface), the extraction of chroma (tests/audio).
"""

import copy
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from t2a.conditions.encoders import EncodersFile
from t2a.generate.lm import LMGenerator
from t2a.generate.sounding import decode
from t2a.interop import musicgen
from t2a.interop.language import convert
from t2a.models.lm import LM
from t2a.nn.condition import Condition
from t2a.tokens.sampling import Sampling
from tests.conditions.peers import WORDS
from tests.interop import musicgens

KINDS = ["mono", "stereo", "melody"]
PROMPTS = ["a dog barks", "rain", "bell rain falls a bell"]


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """A peer, and ours out of the folder that the import has written."""
    folder = tmp_path_factory.mktemp(request.param)
    peer = musicgens.build(request.param)
    source = musicgens.saved(peer, folder / "source")
    convert(lambda: musicgen.load(source), str(folder / "out"))
    return peer, LMGenerator.from_folder(folder / "out")


def tokens(prompts: list[str]) -> dict[str, Tensor]:
    """What transformers' processor makes of prompts: word by word, padded."""
    ids = [[WORDS.index(word) for word in prompt.split()] for prompt in prompts]
    longest = max(map(len, ids))
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
    return {"input_ids": torch.tensor([row + [1] * (longest - len(row)) for row in ids]), "attention_mask": mask}


def some_codes(model: LM, rows: int, steps: int = 12) -> Tensor:
    codes = torch.randint(0, model.config.bins + 1, (rows, model.config.codebooks, steps))
    codes[:, :, 0] = model.special
    return codes


def chroma(rows: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.randint(0, 12, (rows, musicgens.CHROMA_LENGTH)), 12).float()


def is_melody(peer) -> bool:
    return hasattr(peer.config, "num_chroma")


@torch.no_grad()
def theirs(peer, codes: Tensor, **inputs) -> Tensor:
    """Logits [B, K, S, V]; a melody model gives those of what stands before the audio, too."""
    logits = peer(**inputs, decoder_input_ids=codes.flatten(0, 1)).logits
    return logits.unflatten(0, codes.shape[:2])[:, :, -codes.shape[2] :]


@torch.no_grad()
def ours(model: LM, codes: Tensor, conditions) -> Tensor:
    return model(codes, conditions)


def greedy(generator: LMGenerator, prompts: list[str], guidance: float, frames: int = 100) -> Tensor:
    return generator.codes(prompts, frames, [0] * len(prompts), Sampling(guidance, temperature=0.0))


def same(found: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.3
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_logits_of_prompts_in_one_batch_are_the_same(pair):
    # transformers' melody model attends to the padding of a prompt, so its logits depend on the longest one in the
    # batch. Ours do not: compared are prompts of one length.
    peer, generator = pair
    prompts = ["a dog barks", "bell rain falls", "rain rain a"] if is_melody(peer) else PROMPTS
    codes = some_codes(generator.model, 3)
    same(
        ours(generator.model, codes, generator.encoders({"captions": prompts})), theirs(peer, codes, **tokens(prompts))
    )


def test_logits_without_a_prompt_are_the_same(pair):
    # A melody model needs a state at least: what transformers gives for a caption of no use is one of zeros.
    peer, generator = pair
    codes, zeros = some_codes(generator.model, 2), torch.zeros(2, 1, 12)
    if is_melody(peer):
        hidden = torch.cat([peer.audio_enc_to_dec_proj(torch.eye(12)[:1]).expand(2, 5, -1), torch.zeros(2, 1, 32)], 1)
        given = {"encoder_hidden_states": hidden}
    else:
        given = {"encoder_outputs": (zeros,), "attention_mask": torch.zeros(2, 1, dtype=torch.int64)}
    same(ours(generator.model, codes, None), theirs(peer, codes, **given))


def test_greedy_codes_of_100_steps_are_the_same(pair, monkeypatch):
    peer, generator = pair
    prompts = PROMPTS[:1] if is_melody(peer) else PROMPTS
    expected = musicgens.greedy(peer, 100, monkeypatch, **tokens(prompts))
    found = greedy(generator, prompts, 1.0)
    assert torch.equal(found, expected)
    assert len(expected.unique()) > 8


def test_guided_greedy_codes_of_100_steps_are_the_same(pair, monkeypatch):
    peer, generator = pair
    prompts = PROMPTS[:1] if is_melody(peer) else PROMPTS
    nulls = len(prompts[0].split()) if is_melody(peer) else 1
    generator = with_nulls(generator, nulls)
    expected = musicgens.greedy(peer, 100, monkeypatch, **tokens(prompts), guidance_scale=3.0)
    found = greedy(generator, prompts, 3.0)
    assert torch.equal(found, expected)
    assert not torch.equal(found, greedy(generator, prompts, 1.0))


def with_nulls(generator: LMGenerator, length: int) -> LMGenerator:
    """Let the missing caption be that long.

    Where transformers' melody model is told nothing, as many zeros as the caption has tokens stand before the audio.
    What the import writes has one, so that what a model does without a caption depends on no caption.
    """
    config = generator.model.config
    text = config.conditions["text"].model_copy(update={"null_length": length})
    model = copy.copy(generator.model)
    model.config = config.model_copy(update={"conditions": config.conditions | {"text": text}})
    return LMGenerator(model, generator.codec, generator.encoders)


class Told:
    """Encoders that say the same of everything."""

    def __init__(self, conditions: dict[str, Condition]):
        self.conditions = conditions

    def __call__(self, _) -> dict[str, Condition]:
        return self.conditions


@pytest.mark.parametrize("pair", ["melody"], indirect=True)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_melody_s_chroma_gives_the_same_logits_and_greedy_codes(pair, guidance, monkeypatch):
    peer, generator = pair
    prompts, melody, nulls = ["a dog barks", "bell rain falls"], chroma(2), 3
    states = Condition(melody, torch.ones(melody.shape[:2], dtype=torch.bool))
    told = generator.encoders({"captions": prompts}) | {"melody": states}
    codes = some_codes(generator.model, 2)
    given = tokens(prompts) | {"input_features": melody}
    same(ours(generator.model, codes, told), theirs(peer, codes, **given))
    assert (ours(generator.model, codes, told) - ours(generator.model, codes, {"text": told["text"]})).abs().max() > 0.1
    expected = musicgens.greedy(peer, 100, monkeypatch, **given, guidance_scale=guidance)
    generator = with_nulls(LMGenerator(generator.model, generator.codec, Told(told)), nulls)
    assert torch.equal(greedy(generator, prompts, guidance), expected)


def test_the_waves_of_the_same_codes_are_the_same(pair):
    peer, generator = pair
    wave = peer.generate(**tokens(PROMPTS[:1]), max_new_tokens=23)
    codes = greedy(generator, PROMPTS[:1], 1.0, frames=20)
    found = decode(generator.codec, codes, 20 * generator.codec.hop, generator.model.config.channels)
    assert found.shape == (1, peer.config.decoder.audio_channels, 400)
    torch.testing.assert_close(found, wave, atol=1e-5, rtol=1e-4)


def test_the_folder_holds_all_that_generation_needs(pair, tmp_path):
    _, generator = pair
    folder = Path(generator.encoders.configs["text"].name).parent
    shutil.copytree(folder, tmp_path / "moved")
    moved = LMGenerator.from_folder(tmp_path / "moved")
    assert moved.encoders.configs["text"].name == str(tmp_path / "moved" / "text")
    assert list(EncodersFile.read(folder).encoders) == list(moved.model.config.conditions)
    clips = [g.generate(["a bell"], 0.05, seeds=[3])[0] for g in (generator, moved)]
    assert clips[0].shape == (generator.model.config.channels, 400)
    assert (clips[0] == clips[1]).all()


def test_states_of_the_model_s_width_need_no_projection(tmp_path):
    peer = musicgens.build("mono", hidden_size=12, num_attention_heads=2)
    generator = musicgen.load(musicgens.saved(peer, tmp_path))
    codes, given = some_codes(generator.model, 2), tokens(PROMPTS[1:])
    states = peer.text_encoder(**given).last_hidden_state
    told = {"text": Condition(states, given["attention_mask"].bool())}
    same(ours(generator.model, codes, told), theirs(peer, codes, **given))
