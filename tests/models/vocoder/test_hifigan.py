import pytest
from pydantic import ValidationError

from t2a.models.vocoder import HifiGan, HifiGanConfig

V3 = {"width": 256, "rates": (8, 8, 4), "kernels": (16, 16, 8), "residual_kernels": (3, 5, 7)}
V3 |= {"dilations": ((1, 2), (2, 6), (3, 12)), "paired": False}


@pytest.mark.parametrize(
    ("shape", "millions"), [({}, 13.92), ({"width": 128}, 0.92), (V3, 1.46)], ids=["V1", "V2", "V3"]
)
def test_the_published_shapes_have_their_parameters(shape, millions):
    """As the paper counts them (table 1), without the lengths that weight norm adds."""
    model = HifiGan(HifiGanConfig(**shape))
    count = sum(p.numel() for name, p in model.named_parameters() if not name.endswith("weight_g"))
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": (8, 8, 2), "kernels": (16, 16, 4)}, "multiply to 128 samples a frame, but mel.hop is 256"),
        ({"kernels": (16, 16, 4)}, "give one for each of the rates"),
        ({"kernels": (16, 16, 4, 1)}, "none below its rate"),
        ({"dilations": ((1, 3, 5),)}, "1 entries"),
        ({"residual_kernels": (3, 6, 11)}, "must be odd"),
        ({"width": 24}, "cannot be halved 4 times"),
    ],
)
def test_impossible_shapes_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        HifiGanConfig(**changes)
