"""Models of a few thousand weights, of both kinds, with what they need and an encoder that needs none."""

import math

import torch

from t2a.audio.spectral import MelSpec
from t2a.conditions.encoders import Encoders
from t2a.conditions.melody import ChromaConfig
from t2a.diffusion.process import DiffusionConfig
from t2a.generate.diffusion import DiffusionGenerator
from t2a.generate.lm import LMGenerator
from t2a.models.autoencoder import Autoencoder, AutoencoderConfig
from t2a.models.codec import Codec, CodecConfig
from t2a.models.denoiser import ConditionConfig as DenoiserCondition
from t2a.models.denoiser import Denoiser, DenoiserConfig
from t2a.models.dit import DiTConfig
from t2a.models.kl1d import Kl1dConfig
from t2a.models.kl2d import Kl2dConfig
from t2a.models.lm import LM, ConditionConfig, LMConfig
from t2a.models.vocoder import GriffinLim, Vocos, VocosConfig
from t2a.nn.condition import Condition
from t2a.nn.quantize import QuantizerConfig

RATE, HOP = 16000, 8


class Letters:
    """An encoder, and its config, that needs no weights: one state for each letter."""

    kind, reads, width = "letters", "captions", 6

    def build(self, device):
        return self

    def to(self, device):
        return self

    def __call__(self, captions):
        states = [torch.tensor([[math.sin(ord(c) * (i + 1)) for i in range(6)] for c in text]) for text in captions]
        longest = max(1, *(len(state) for state in states))
        tokens, mask = torch.zeros(len(states), longest, 6), torch.zeros(len(states), longest, dtype=torch.bool)
        for row, state in enumerate(states):
            if len(state):
                tokens[row, : len(state)], mask[row, : len(state)] = state, True
        return Condition(tokens, mask)


def build(fuse=("prepend", "cross"), codec=None, **changes) -> LMGenerator:
    torch.manual_seed(0)
    sizes = {"codebooks": 3, "bins": 32, "width": 32, "layers": 2, "heads": 2, "max_frames": 60}
    sizes["conditions"] = {"text": ConditionConfig(width=6, fuse=fuse)}
    model = LM(LMConfig(**(sizes | changes)))
    melody = ChromaConfig(kind="chroma", sample_rate=RATE, window=256)
    known = {"text": Letters(), "melody": melody}
    widths = {name: condition.width for name, condition in model.config.conditions.items()}
    encoders = Encoders({name: known[name] for name in widths}, widths)
    with torch.no_grad():
        model.heads.weight.mul_(50)  # an untrained model is indifferent; this one has opinions
    quantizer = QuantizerConfig(codebooks=3, bins=32)
    shape = {"filters": 2, "ratios": (4, 2), "dimension": 4, "lstm_layers": 0, "quantizer": quantizer}
    codec = Codec(CodecConfig(**(shape | (codec or {}))))
    for name, tensor in codec.state_dict().items():
        if "codebook" in name or "embed" in name:
            tensor.copy_(0.05 * torch.randn(tensor.shape))
    generator = LMGenerator(model, codec, encoders)
    quieten(generator.codec)
    return generator


@torch.no_grad()
def quieten(codec: Codec) -> None:
    """Bring a folded codec's waves well below full scale, where a stream and a whole clip are turned down unlike."""
    size = codec.config.quantizer
    codes = torch.randint(size.bins, (4, size.codebooks, 60), generator=torch.Generator().manual_seed(0))
    last = codec.decoder[-1]
    for part in (last.weight, last.bias):
        part.mul_(0.3 / codec.decode(codes).abs().max())


MEL = MelSpec(rate=RATE, n_fft=64, hop=16, n_mels=8, log="ln")
LATENTS = {
    (3,): Kl1dConfig(latent=3, widths=(8, 8, 8), blocks=1),
    (2, 2): Kl2dConfig(latent=2, width=8, multipliers=(1, 1, 1), blocks=1, groups=4, attention=()),
}
DIT = DiTConfig(width=16, layers=2, heads=2)
FRAME = 4 * 16  # samples of a frame of latents


def build_diffusion(process=None, latent=(3,), mel=MEL, vocoder="vocos", **changes) -> DiffusionGenerator:
    torch.manual_seed(0)
    conditions = {"text": DenoiserCondition(width=6)}
    sizes = {"latent": latent, "max_frames": 20, "network": DIT}
    sizes |= {"conditions": conditions, "process": process or DiffusionConfig()}
    model = Denoiser(DenoiserConfig(**(sizes | changes)))
    autoencoder = Autoencoder(AutoencoderConfig(mel=MEL, network=LATENTS[latent]))
    voice = Vocos(VocosConfig(mel=mel, width=8, hidden=16, layers=1)) if vocoder == "vocos" else GriffinLim(mel)
    for part in (model, autoencoder):
        for parameter in part.parameters():  # layers that begin at zero would hide what the others do
            torch.nn.init.normal_(parameter, std=0.2)
    widths = {name: condition.width for name, condition in model.config.conditions.items()}
    return DiffusionGenerator(model, autoencoder, voice, Encoders({name: Letters() for name in widths}, widths))
