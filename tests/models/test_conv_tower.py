import pytest
from pydantic import ValidationError

from t2a.audio.spectral import MelSpec
from t2a.models.conv_tower import ConvTowerConfig


def test_bands_that_do_not_divide_are_refused():
    with pytest.raises(ValidationError, match="multiple of 16"):
        ConvTowerConfig(mel=MelSpec(n_mels=40))


def test_a_spectrogram_without_levels_is_refused():
    with pytest.raises(ValidationError, match=r"mel\.log is none"):
        ConvTowerConfig(mel=MelSpec(n_mels=64, log="none"))
    with pytest.raises(ValidationError, match="center is false"):
        ConvTowerConfig(mel=MelSpec(n_mels=64, center=False))
