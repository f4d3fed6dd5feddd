import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from t2a.audio.spectral import MelSpec
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


@torch.no_grad()
def test_blocks_that_are_not_paired_are_those_of_v3():
    torch.manual_seed(0)
    mel = MelSpec(n_fft=64, hop=16, n_mels=8)
    model = HifiGan(HifiGanConfig(mel=mel, **V3 | {"width": 16, "rates": (4, 4), "kernels": (8, 8)})).eval().fold()
    spectrogram = torch.randn(2, 8, 10)
    x = functional.conv1d(spectrogram, model.conv_pre.weight, model.conv_pre.bias, padding=3)
    for stage in model.stages:
        x = functional.conv_transpose1d(functional.leaky_relu(x, 0.1), stage.up.weight, stage.up.bias, 4, padding=2)
        fused = torch.zeros_like(x)
        for block, kernel, dilations in zip(stage.blocks, (3, 5, 7), V3["dilations"], strict=True):
            y = x
            for conv, dilation in zip(block.dilated, dilations, strict=True):
                padding = (kernel - 1) * dilation // 2
                z = functional.leaky_relu(y, 0.1)
                y = y + functional.conv1d(z, conv.weight, conv.bias, padding=padding, dilation=dilation)
            fused += y / 3
        x = fused
    x = functional.conv1d(functional.leaky_relu(x, 0.01), model.conv_post.weight, model.conv_post.bias, padding=3)
    torch.testing.assert_close(model(spectrogram), x.tanh(), atol=1e-5, rtol=1e-4)


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
