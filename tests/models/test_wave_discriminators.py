"""HiFi-GAN's discriminators: published sizes, an independent forward pass, and that they learn to tell sounds apart."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from t2a.losses.adversarial import critic_loss
from t2a.models.discriminators import Critic, CriticConfig
from t2a.models.wave_discriminators import PeriodsConfig, ScalesConfig

SMALL = {"periods": {"periods": (2, 3), "widths": (8, 16, 16)}, "scales": {"scales": 2, "width": 16}}


def critic(channels: int = 1, **settings) -> Critic:
    torch.manual_seed(0)
    return Critic(CriticConfig.model_validate(settings), channels)


def test_the_published_sizes_come_out():
    """Weights of the paper's layers in figures; weight norm adds a length for each output, 41.1 M and 29.6 M in all."""
    columns = 5 * (1 * 32 + 32 * 128 + 128 * 512 + 512 * 1024 + 1024 * 1024) + 3 * 1024
    outputs = 32 + 128 + 512 + 1024 + 1024 + 1
    scale = 15 * 128 + 41 * (128 * 32 + 256 * 8 + 512 * 16 + 1024 * 32 + 1024 * 64) + 5 * 1024 * 1024 + 3 * 1024
    wide = 128 + 128 + 256 + 512 + 3 * 1024 + 1
    with torch.device("meta"):
        periods, scales = (Critic(CriticConfig(ffts=(), **{k: c})) for k, c in
                           (("periods", PeriodsConfig()), ("scales", ScalesConfig())))  # fmt: skip
    assert sum(p.numel() for p in periods.parameters()) == 5 * (columns + 2 * outputs) == 41_105_770
    assert sum(p.numel() for p in scales.parameters()) == 3 * (scale + 2 * wide) == 29_622_918


def test_shapes_are_those_of_the_paper():
    judge = critic(ffts=(), periods={"widths": (4, 4, 4, 4, 4)}, scales={"width": 16})
    verdict = judge(torch.randn(2, 1, 8192))
    assert [tuple(x.shape) for x in verdict.logits[:2]] == [(2, 1, 51, 2), (2, 1, 34, 3)]
    # 8192 samples, halved by averaging to 4097 and 2049, then by strides 2, 2, 4, 4
    assert [x.shape[-1] for x in verdict.logits[5:]] == [128, 65, 33]
    assert [len(layers) for layers in verdict.features] == [5] * 5 + [7] * 3


def _torch_conv(conv: nn.Module, kind: type, **settings) -> nn.Module:
    """A layer of torch's own, weight norm included, with the parameters of ours."""
    wide, share, *kernel = conv.weight_v.shape
    made = nn.utils.parametrizations.weight_norm(
        kind(share * settings.get("groups", 1), wide, tuple(kernel), padding=tuple(k // 2 for k in kernel), **settings)
    )
    made.load_state_dict(
        {
            "bias": conv.bias,
            "parametrizations.weight.original0": conv.weight_g,
            "parametrizations.weight.original1": conv.weight_v,
        }
    )
    return made


def test_a_forward_pass_of_torch_s_own_layers_gives_the_same():
    judge = critic(ffts=(), **SMALL)
    for conv in judge.modules():
        if hasattr(conv, "weight_g"):
            nn.init.normal_(conv.bias)
    wave = torch.randn(2, 1, 1000)
    verdict = judge(wave)
    period = judge.discriminators[1]
    x = functional.pad(wave, (0, 2), "reflect").view(2, 1, 334, 3)
    for conv, stride in zip(period.convs, (3, 3, 1), strict=True):
        x = functional.leaky_relu(_torch_conv(conv, nn.Conv2d, stride=(stride, 1))(x), 0.1)
    torch.testing.assert_close(verdict.logits[1], _torch_conv(period.conv_post, nn.Conv2d)(x))

    scale = judge.discriminators[3]
    x = nn.AvgPool1d(4, 2, padding=2)(wave)
    layers = zip(scale.convs, (1, 2, 2, 4, 4, 1, 1), (1, 4, 16, 16, 16, 16, 1), strict=True)
    for conv, stride, groups in layers:
        x = functional.leaky_relu(_torch_conv(conv, nn.Conv1d, stride=stride, groups=groups)(x), 0.1)
    torch.testing.assert_close(verdict.logits[3], _torch_conv(scale.conv_post, nn.Conv1d)(x))


@pytest.mark.parametrize("kind", ["periods", "scales"])
def test_it_learns_to_tell_noise_from_tones(kind):
    judge = critic(ffts=(), **{kind: SMALL[kind]})
    optimizer = torch.optim.AdamW(judge.parameters(), lr=5e-3, betas=(0.8, 0.99))
    draw, losses = torch.Generator().manual_seed(1), []
    for _ in range(60):
        time = torch.arange(1024) / 16000
        tones = 0.5 * torch.sin(2 * torch.pi * (200 + 2000 * torch.rand(8, 1, 1, generator=draw)) * time)
        noise = 0.35 * torch.randn(8, 1, 1024, generator=draw)  # as loud as the tones
        loss = critic_loss(judge(tones).logits, judge(noise).logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(2, abs=0.3)
    assert sum(losses[-5:]) / 5 < 0.7


def test_they_judge_beside_the_spectral_ones_whose_names_stay():
    alone = critic(2, ffts=(256, 64), filters=4)
    together = critic(2, ffts=(256, 64), filters=4, **SMALL)
    assert set(alone.state_dict()) < set(together.state_dict())
    verdict = together(torch.randn(3, 2, 512))
    assert len(verdict.logits) == len(verdict.features) == 6
    first, second, third = verdict.split(3)
    assert [len(x.logits) for x in (first, second, third)] == [6, 6, 6]
    assert all(logits.shape[0] == 1 for logits in second.logits)


def test_nobody_to_judge_is_refused():
    with pytest.raises(ValidationError, match="nobody judges"):
        CriticConfig(ffts=())
