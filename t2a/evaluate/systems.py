"""What is compared with a codec: itself with fewer codebooks, untrained, and mu-law, Opus and MP3."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from t2a.metrics import coders, mulaw
from t2a.metrics.coders import Coded, Wave
from t2a.models import segments
from t2a.models.codec import Codec

System = Callable[[Wave], Coded]
Entropy = Callable[[Tensor], float]
"""Bits of codes [1, K, L] after entropy coding"""

SCALE_BITS = 32  # of the loudness that a codec that normalises keeps beside the codes of a segment


def compared(codec: Codec, entropy: Entropy | None = None) -> dict[str, System]:
    """Name -> what it makes of a wave [C, T]; names are "<family>" or "<family>, <setting>".

    Opus and MP3 run at the rates next to the codec's and at once, twice and four times their lowest; mu-law at the
    codec's bit rate and at 4 and 16 times that.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = Codec(codec.config).eval()
    rate, channels, bits = codec.sample_rate, codec.channels, codec.bit_rate
    full = codec.codebooks
    systems = {
        "codec" if k == full else f"codec, {k} of {full} codebooks": _ours(codec, k, entropy) for k in depths(full)
    }
    systems |= {"untrained": _ours(untrained, full), "mu-law": _mulaw(rate, bits)}
    raw = 8.0 * rate * channels
    systems |= {f"mu-law, {_kilo(r)}": _mulaw(rate, r) for r in (4 * bits, 16 * bits) if bits < r <= raw}
    for name, family, code in (("opus", "Opus", coders.opus), ("mp3", "MP3", coders.mp3)):
        low = coders.lowest(name, rate, channels)
        for r in ladder(low, bits):
            systems[f"{family}, {_kilo(r)}"] = lambda wave, code=code, r=r: code(wave, rate, r)
    return systems


def depths(codebooks: int) -> list[int]:
    """Numbers of codebooks that are measured: each up to 8, then doubling."""
    return sorted({*range(1, min(codebooks, 8) + 1), *_powers(codebooks), codebooks})


def ladder(lowest: float, bit_rate: float) -> list[float]:
    """Bit rates for a coder that goes down to `lowest`: one is as near as it can get to `bit_rate`."""
    return sorted({lowest, 2 * lowest, 4 * lowest, max(lowest, bit_rate)})


def family(system: str) -> str:
    """ "Opus, 6 kbit/s" -> "Opus"."""
    return system.partition(",")[0]


def _ours(codec: Codec, codebooks: int, entropy: Entropy | None = None) -> System:
    def run(wave: Wave) -> Coded:
        with torch.inference_mode():
            parts = segments.encode(codec, torch.from_numpy(wave)[None], codebooks)
            audio = segments.decode(codec, parts, wave.shape[1])[0].numpy()
        codes, scales = segments.joined(parts)
        beside = 0 if scales is None else SCALE_BITS * scales.numel()
        bits = codes.numel() * math.log2(codec.bins) + beside
        return Coded(audio, bits, 0.0, entropy(codes) + beside if entropy else None)

    return run


def _mulaw(rate: int, bit_rate: float) -> System:
    def run(wave: Wave) -> Coded:
        return Coded(mulaw.at_bit_rate(wave, rate, bit_rate), bit_rate * wave.shape[1] / rate, 0.0)

    return run


def _powers(up_to: int) -> Iterable[int]:
    return (2**i for i in range(up_to.bit_length()))


def _kilo(bits: float) -> str:
    return f"{bits / 1000:.3g} kbit/s"
