"""What tests of parity share: sound, codebooks worth searching, codes that may differ only where two are as near."""

import torch
from torch import Tensor, nn

from t2a.models.codec import Codec


def sound(seconds: float, rate: int, channels: int, seed: int = 0) -> Tensor:
    """Noise under a slow envelope, [1, C, T]."""
    generator = torch.Generator().manual_seed(seed)
    length = round(seconds * rate)
    envelope = 0.1 + 0.9 * torch.linspace(0, 12, length).sin().abs()
    return 0.3 * envelope * torch.randn(1, channels, length, generator=generator)


def fill(books: list[nn.Module], latents: Tensor) -> None:
    """Give codebooks (with buffers `embed`, ...) random codes of the latents' size, smaller from one to the next."""
    generator = torch.Generator().manual_seed(1)
    level = float(latents.std())
    for book in books:
        embed = level * torch.randn(book.embed.shape, generator=generator)
        book.embed.copy_(embed)
        book.cluster_size.copy_(1 + torch.rand(len(embed), generator=generator))
        book.embed_avg.copy_(embed * book.cluster_size[:, None])
        level *= 0.8


@torch.no_grad()
def same_codes(codec: Codec, wave: Tensor, ours: Tensor, theirs: Tensor) -> None:
    """Assert that codes [1, K, L] of a wave, as one segment, are equal but for ties.

    Where a frame's codes differ, the first that do must be equally far from what is left of the frame.
    """
    assert ours.shape == theirs.shape
    differing = (ours != theirs).any(1)[0].nonzero().flatten().tolist()
    if not differing:
        return
    wave, _ = codec._normalised(wave)
    latents = codec.encoder(wave)[0].T
    for frame in differing:
        k = int((ours[0, :, frame] != theirs[0, :, frame]).nonzero()[0])
        codebook = codec.quantizer.codebook
        left = latents[frame] - sum(codebook[i, ours[0, i, frame]] for i in range(k))
        near, other = ((left - codebook[k, codes[0, k, frame]]).norm() for codes in (ours, theirs))
        torch.testing.assert_close(near, other, rtol=1e-5, atol=0)
    assert len(differing) <= 0.01 * ours.shape[-1], "more ties than chance makes"
