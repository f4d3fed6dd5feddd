import pytest
import torch
from pydantic import ValidationError

from t2a.audio.spectral import MelSpec
from t2a.models.spectrogram_transformer import SpectrogramTransformerConfig
from t2a.models.ssast import Ssast, SsastConfig, clustered

MEL = MelSpec(n_fft=256, hop=64, n_mels=16, log="ln")
TOWER = SpectrogramTransformerConfig(mel=MEL, patch=(4, 4), width=16, layers=1, heads=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(**changes) -> Ssast:
    torch.manual_seed(0)
    return Ssast(SsastConfig(tower=TOWER, **changes)).eval()


def test_400_of_512_patches_are_hidden_and_the_same_share_of_a_shorter_clip():
    real = torch.ones(3, 8, 64, dtype=torch.bool)
    real[1, :, 40:] = False
    real[2, :, 1:] = False
    hidden = clustered(real, 400 / 512, (3, 5), seeded())
    assert hidden.sum((1, 2)).tolist() == [400, 250, 6]
    assert not (hidden & ~real).any()


@pytest.mark.parametrize(("side", "share"), [(4, 81 / 225), (1, 0)])
def test_the_hidden_patches_stand_in_squares(side, share):
    # Of the 15 x 15 places where a square of 4 x 4 touches the patches, 9 x 9 are within them: one covers 16 patches.
    hidden = clustered(torch.ones(2000, 12, 12, dtype=torch.bool), 16 / 144, (side, side), seeded()).float()
    whole = torch.nn.functional.avg_pool2d(hidden[:, None], 4, stride=1).amax((1, 2, 3)) == 1
    assert whole.float().mean().item() == pytest.approx(share, abs=0.04)


def test_every_patch_is_hidden_equally_often_and_anew_each_time():
    real = torch.ones(4000, 4, 6, dtype=torch.bool)
    hidden = clustered(real, 0.5, (3, 5), seeded())
    assert (hidden.float().mean(0) - 0.5).abs().max() < 0.05
    assert not torch.equal(hidden[0], hidden[1])
    assert torch.equal(hidden, clustered(real, 0.5, (3, 5), seeded()))


def test_what_is_hidden_reaches_no_prediction():
    one, wave = model(), 0.3 * torch.randn(2, 1, 4000)
    length = torch.tensor([4000, 1500])
    before = one(wave, length, seeded())
    rows, columns = before.hidden.nonzero(as_tuple=True)
    patches, real = one.tower.patches(wave, length)
    patches[rows, columns] = 5.0
    one.tower.patches = lambda *_: (patches, real)
    after = one(wave, length, seeded())
    assert torch.equal(after.hidden, before.hidden)
    assert torch.equal(after.matched, before.matched)
    assert torch.equal(after.reconstructed, before.reconstructed)


def test_it_comes_back_from_its_folder(tmp_path):
    one, wave = model(), torch.randn(1, 1, 3000)
    one.save_pretrained(tmp_path)
    again = Ssast.from_pretrained(tmp_path)
    length = torch.tensor([3000])
    assert torch.equal(again(wave, length, seeded()).matched, one(wave, length, seeded()).matched)


def test_a_range_that_falls_is_refused():
    with pytest.raises(ValidationError, match="lower bound first"):
        SsastConfig(tower=TOWER, clusters=(5, 3))
