"""Random first phases that are the same for a frame wherever and with whatever others it is worked on.

Frames are numbered in blocks; each block draws from a generator of its own, seeded by its item's seed
and its number. So a piece of a long spectrogram starts as it does within the whole, and blocks are drawn
side by side.
"""

import math

import torch
from jaxtyping import Complex, Int
from torch import Tensor

from inbounds._parallel import for_each_block

BLOCK = 256  # frames


def seeds(rows: int, generator: torch.Generator | None) -> Int[Tensor, " b"]:
    """One seed an item, on the CPU."""
    device = None if generator is None else generator.device
    return torch.randint(2**62, (rows,), generator=generator, device=device).cpu()


def random_units(
    seed: Int[Tensor, " b"], bins: int, first: int, last: int, *, like: Tensor
) -> Complex[Tensor, "b time n_stft"]:
    """Complex numbers uniform on the unit circle for frames first to last − 1, for tensors like `like`."""
    rows, lowest = len(seed), first // BLOCK
    blocks = -(-last // BLOCK) - lowest
    units = torch.empty(rows, last - first, bins, dtype=like.dtype.to_complex())

    def work(item: int, _: int) -> None:
        row, block = divmod(item, blocks)
        number = lowest + block
        generator = torch.Generator().manual_seed((int(seed[row]) + number) % 2**63)
        angle = torch.rand(BLOCK, bins, dtype=like.dtype, generator=generator).mul_(2 * math.pi)
        low, high = max(number * BLOCK, first), min((number + 1) * BLOCK, last)
        angle = angle[low - number * BLOCK : high - number * BLOCK]
        out = units[row, low - first : high - first]
        out.real, out.imag = angle.cos(), angle.sin()

    for_each_block(work, rows * blocks, 1, calls_torch=True)
    return units.to(like.device)
