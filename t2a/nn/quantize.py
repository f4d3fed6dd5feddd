"""Residual vector quantization (Zeghidour et al., 2021), its codebooks moving averages (van den Oord et al., 2017)."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from t2a.config import Config
from t2a.nn import ranks
from t2a.nn.uncast import Uncast

DISTANCES = 2**24
"""Distances held in memory at once: 64 MB, whatever the length of the signal."""


class QuantizerConfig(Config):
    """How many codebooks describe a frame, and how they are learned."""

    codebooks: int = Field(4, ge=1)
    bins: int = Field(1024, ge=2)
    decay: float = Field(0.99, gt=0, lt=1)
    """of the moving averages"""
    kmeans_steps: int = Field(50, ge=1)
    revive_below: float = Field(0.05, ge=0, lt=1)
    """A code is dead when its average use is below this share of the mean use. (EnCodec's "2 vectors a batch" depends
    on the batch: it calls every code dead when a batch has fewer than two vectors a code.)"""
    dropout: bool = False
    """train with a random number of codebooks a step, so that any number of them decodes well"""


class Quantized(NamedTuple):
    """What the quantizer makes of a batch."""

    latents: Tensor
    """[B, D, L], the sum of the chosen codes; its gradient goes straight through to the input"""
    codes: Tensor
    """[B, K, L] int64"""
    commitment: Tensor
    """scalar: squared distance between residual and code, mean over the codebooks"""


class ResidualQuantizer(Uncast):
    """Describe each frame by one code of each of K codebooks, every codebook refining what the ones before left over.

    While training, a forward pass also moves the codebooks: k-means on the first batch, moving averages afterwards.
    Counts and sums are added up over the processes, and every random choice follows from the number of updates so far,
    so all processes hold the same codebooks. The module stays in float32 whatever it is cast to: moving averages with
    a decay of 0.99 stall in bfloat16.
    """

    codebook: Tensor
    count: Tensor
    total: Tensor
    updates: Tensor

    def __init__(self, dimension: int, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        shape = (config.codebooks, config.bins, dimension)
        codebook = torch.randn(shape) / dimension**0.5
        self.register_buffer("codebook", codebook)
        self.register_buffer("count", torch.ones(shape[:2]))
        self.register_buffer("total", codebook.clone())
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, codebooks: int | None = None) -> Quantized:
        """Quantize x [B, D, L] with the first `codebooks` codebooks (default: all; while training, see `dropout`)."""
        with torch.autocast(x.device.type, enabled=False):
            frames = x.float().transpose(1, 2).flatten(0, 1)
            generator = torch.Generator().manual_seed(int(self.updates))
            depth = self._depth(codebooks, generator)
            residual = frames.detach()
            chosen, codes, commitment = torch.zeros_like(residual), [], frames.new_zeros(())
            for k in range(depth):
                if self.training and not self.updates:
                    self._start(k, residual, generator)
                code = nearest(residual, self.codebook[k])
                vectors = self.codebook[k][code]
                # The residual's gradient is the frame's own: everything subtracted from it is constant.
                commitment = commitment + (frames - chosen - vectors).square().mean()
                if self.training:
                    self._learn(k, residual, code, generator)
                residual = residual - vectors
                chosen = chosen + vectors
                codes.append(code)
            if self.training:
                self.updates += 1
            # Exactly the codes' sum where no gradient goes through: a norm may blow up what rounding adds.
            latents = frames + (chosen - frames).detach() if torch.is_grad_enabled() else chosen
        batch, length = x.shape[0], x.shape[-1]
        return Quantized(
            latents.unflatten(0, (batch, length)).transpose(1, 2).to(x.dtype),
            torch.stack(codes).unflatten(1, (batch, length)).transpose(0, 1),
            commitment / depth,
        )

    @torch.no_grad()
    def encode(self, x: Tensor, codebooks: int | None = None) -> Tensor:
        """Return codes [B, K, L] of x [B, D, L]; never learns."""
        frames = x.float().transpose(1, 2).flatten(0, 1)
        codes = []
        for book in self.codebook[:codebooks]:
            codes.append(nearest(frames, book))
            frames = frames - book[codes[-1]]
        return torch.stack(codes).unflatten(1, (x.shape[0], x.shape[-1])).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return latents [B, D, L] float32 of codes [B, k, L] for any k <= K."""
        if codes.shape[1] > len(self.codebook):
            raise ValueError(f"codes have {codes.shape[1]} codebooks, this quantizer {len(self.codebook)}.")
        books = zip(self.codebook, codes.unbind(1), strict=False)
        return torch.stack([book[code] for book, code in books]).sum(0).transpose(1, 2)

    def usage(self) -> Tensor:
        """Return the share of live codes of each codebook [K], by the moving average of their use."""
        return (~self._dead(self.count)).float().mean(-1)

    def perplexity(self) -> Tensor:
        """Return exp(entropy) of each codebook's average use [K]: `bins` when all codes are used equally."""
        share = self.count / self.count.sum(-1, keepdim=True)
        return torch.exp(-(share * share.clamp_min(1e-12).log()).sum(-1))

    def _depth(self, codebooks: int | None, generator: torch.Generator) -> int:
        if codebooks is not None or not self.training or not self.config.dropout or not self.updates:
            return len(self.codebook[:codebooks])
        return int(torch.randint(1, len(self.codebook) + 1, (), generator=generator))

    def _dead(self, count: Tensor) -> Tensor:
        return count < self.config.revive_below * count.mean(-1, keepdim=True)

    @torch.no_grad()
    def _start(self, k: int, frames: Tensor, generator: torch.Generator) -> None:
        centres, count = kmeans(frames, self.config.bins, self.config.kmeans_steps, generator)
        self._put(k, slice(None), centres, count.clamp_min(1))

    @torch.no_grad()
    def _learn(self, k: int, frames: Tensor, code: Tensor, generator: torch.Generator) -> None:
        """Move codebook k towards the frames [N, D] that chose it, and put its dead codes where frames are."""
        count, total = assigned(frames, code, self.config.bins)
        self.count[k].lerp_(count, 1 - self.config.decay)
        self.total[k].lerp_(total, 1 - self.config.decay)
        self.codebook[k] = self.total[k] / self._smooth(self.count[k])[:, None]
        dead = self._dead(self.count[k])
        if dead.any():
            vectors = ranks.pick(frames, int(dead.sum()), generator)
            self._put(k, dead, vectors, self.count[k].mean().expand(len(vectors)))

    def _put(self, k: int, where: Tensor | slice, vectors: Tensor, count: Tensor) -> None:
        """Place codes together with their averages: placed alone, the next update would carry them back."""
        self.codebook[k, where] = vectors
        self.count[k, where] = count
        self.total[k, where] = vectors * count[:, None]

    def _smooth(self, count: Tensor, eps: float = 1e-5) -> Tensor:
        """Laplace smoothing, which keeps the divisor of an unused code away from zero."""
        everything = count.sum()
        return (count + eps) / (everything + len(count) * eps) * everything


def pieces(frames: Tensor, bins: int) -> Iterator[Tensor]:
    """Cut frames [N, D] so that the distances of a piece to all bins stay below `DISTANCES`."""
    yield from frames.split(max(1, DISTANCES // bins))


def nearest(frames: Tensor, codebook: Tensor) -> Tensor:
    """Return the index [N] of the codebook row [bins, D] next to each frame [N, D], by x^2 - 2xe + e^2.

    x^2 is the same for all rows and left out.
    """
    frames, codebook = frames.detach(), codebook.detach()
    squares = codebook.square().sum(-1)
    found = [torch.addmm(squares, piece, codebook.T, alpha=-2).argmin(-1) for piece in pieces(frames, len(codebook))]
    return torch.cat(found) if found else frames.new_zeros(0, dtype=torch.int64)


def assigned(frames: Tensor, code: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Return how many frames chose each code [bins], and their sum [bins, D], over all processes."""
    ones = torch.ones_like(frames[:, :1])
    sums = frames.new_zeros(bins, frames.shape[-1] + 1).index_add_(0, code, torch.cat([frames, ones], -1))
    sums = ranks.total(sums)
    return sums[:, -1], sums[:, :-1]


def kmeans(frames: Tensor, bins: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cluster the frames [N, D] of all processes; return centres [bins, D] and how many frames each has [bins].

    Each process assigns its own frames, piece by piece, and only counts and sums travel.
    """
    centres = ranks.pick(frames, bins, generator)
    count = frames.new_zeros(bins)
    for _ in range(steps):
        count, total = assigned(frames, nearest(frames, centres), bins)
        moved = torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres, count
