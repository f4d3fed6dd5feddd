import pytest
import torch

from t2a.audio.spectral import MelSpec
from t2a.models.clap import MAX_SCALE, Clap, ClapConfig
from t2a.models.conv_tower import ConvTowerConfig
from t2a.models.spectrogram_transformer import SpectrogramTransformerConfig
from t2a.models.text_layers import TextLayersConfig
from t2a.nn.condition import Condition

MEL = MelSpec(n_fft=256, hop=64, n_mels=16, log="ln")
TOWERS = {
    "conv": ConvTowerConfig(mel=MEL, widths=(8, 16), blocks=1),
    "transformer": SpectrogramTransformerConfig(mel=MEL, patch=(8, 4), width=16, layers=2, heads=2),
}
each_tower = pytest.mark.parametrize("tower", TOWERS)


def clap(tower: str = "conv", **changes) -> Clap:
    torch.manual_seed(0)
    model = Clap(ClapConfig(tower=TOWERS[tower], text_width=12, dimension=6, **changes)).eval()
    for parameter in model.parameters():  # blocks begin as the identity: give them something to do
        if parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@each_tower
def test_embeddings_lie_on_the_unit_sphere(tower):
    audio, text, scale = clap(tower)(
        torch.randn(3, 1, 2000),
        torch.full((3,), 2000),
        Condition(torch.randn(3, 4, 12), torch.ones(3, 4, dtype=torch.bool)),
    )
    assert audio.shape == text.shape == (3, 6)
    torch.testing.assert_close(audio.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))
    assert scale.item() == pytest.approx(1 / 0.07)


@each_tower
@pytest.mark.parametrize("length", [1, 100, 1999, 2048])
def test_a_sound_is_heard_alike_alone_and_filled_up_beside_a_longer_one(length, tower):
    model, wave = clap(tower), 0.3 * torch.randn(1, 1, length)
    filled = torch.zeros(2, 1, 5000)
    filled[:1, :, :length], filled[1] = wave, torch.randn(1, 5000)
    alone = model.audio(wave, torch.tensor([length]))
    torch.testing.assert_close(model.audio(filled, torch.tensor([length, 5000]))[:1], alone, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(model.audio(filled, torch.tensor([5000, 5000]))[:1], alone, atol=1e-3)


@pytest.mark.parametrize("layers", [None, TextLayersConfig(width=8, layers=2, heads=2)])
def test_padding_of_a_caption_changes_nothing(layers):
    model, tokens = clap(text_layers=layers), torch.randn(2, 5, 12)
    mask = torch.tensor([[True, True, False, False, False], [True] * 5])
    alone = model.text(Condition(tokens[:1, :2], mask[:1, :2]))
    torch.testing.assert_close(model.text(Condition(tokens, mask))[:1], alone)


def test_layers_that_read_know_the_order_of_words_and_bear_an_empty_caption():
    model, tokens = clap(text_layers=TextLayersConfig(width=8, layers=2, heads=2)), torch.randn(1, 3, 12)
    every = torch.ones(1, 3, dtype=torch.bool)
    one, turned = (model.text(Condition(t, every)) for t in (tokens, tokens.flip(1)))
    assert not torch.allclose(one, turned, atol=1e-3)
    assert model.text(Condition(tokens, ~every)).isfinite().all()


def test_the_scale_is_bounded():
    model = clap()
    model.log_scale.data.fill_(20.0)
    assert model.scale.item() == pytest.approx(MAX_SCALE)


def test_a_scale_beyond_its_bound_comes_back_and_rises_no_further():
    model = clap()
    optimizer = torch.optim.Adam([model.log_scale], lr=0.01)
    model.log_scale.data.fill_(4.7)  # the logarithm of 110
    for sign, moved in ((-1, False), (1, True)):
        before = model.log_scale.item()
        for _ in range(30):
            optimizer.zero_grad()
            (sign * model.scale).backward()
            optimizer.step()
        assert (model.log_scale.item() < before) == moved
        assert model.log_scale.item() <= before
    assert model.scale.item() < MAX_SCALE
    below = clap()
    below.scale.backward()
    assert below.log_scale.grad.item() == pytest.approx(1 / 0.07)
    with pytest.raises(ValueError, match="temperature"):
        clap(temperature=0.005)


@each_tower
def test_it_comes_back_from_its_folder(tmp_path, tower):
    model, wave = clap(tower), torch.randn(1, 1, 3000)
    model.save_pretrained(tmp_path)
    again = Clap.from_pretrained(tmp_path)
    assert torch.equal(again.audio(wave, torch.tensor([3000])), model.audio(wave, torch.tensor([3000])))


@each_tower
def test_it_computes_in_bfloat16_what_it_does_in_float32(tower):
    model, wave = clap(tower), 0.3 * torch.randn(2, 1, 4000)
    length, told = torch.tensor([4000, 1500]), Condition(torch.randn(2, 4, 12), torch.ones(2, 4, dtype=torch.bool))
    whole = model(wave, length, told)
    half = model.bfloat16()(wave.bfloat16(), length, Condition(told.tokens.bfloat16(), told.mask))
    assert torch.cosine_similarity(whole[0], half[0]).min() > 0.99
    assert torch.cosine_similarity(whole[1], half[1]).min() > 0.99


def test_token_states_are_projected_one_by_one():
    model, tokens = clap(), torch.randn(2, 5, 12)
    mask = torch.tensor([[True, True, False, False, False], [True] * 5])
    states = model.text_states(Condition(tokens, mask))
    assert torch.equal(states.mask, mask)
    one = Condition(tokens[:1, 1:2], mask[:1, 1:2])
    torch.testing.assert_close(torch.nn.functional.normalize(states.tokens[0, 1], dim=-1), model.text(one)[0])
