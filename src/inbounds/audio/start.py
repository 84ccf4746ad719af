"""The first phases: random, zero, or integrated from the magnitudes' own gradients.

Frames are numbered in blocks, and the first phases of a block depend on nothing but its magnitudes, its
item's seed and its number. So a piece of a long spectrogram starts as it does within the whole, and
blocks are worked on side by side.
"""

import math

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from inbounds._parallel import for_each_block
from inbounds.audio.frames import Framing

STARTS = ("random", "zeros", "pghi")
BLOCK = 256  # frames
QUIETEST = 1e-4  # of the block's maximum: cells below it are not worth following


def seeds(rows: int, generator: torch.Generator | None) -> Int[Tensor, " b"]:
    """One seed an item, on the CPU."""
    device = None if generator is None else generator.device
    return torch.randint(2**62, (rows,), generator=generator, device=device).cpu()


def first_spectrum(
    magnitude: Float[Tensor, "b time n_stft"],
    init: str,
    framing: Framing,
    seed: Int[Tensor, " b"],
    first: int = 0,
) -> Complex[Tensor, "b time n_stft"]:
    """The magnitudes of frames `first` and on, with first phases as `init`, one of STARTS, says."""
    if init == "zeros":
        return torch.complex(magnitude, torch.zeros_like(magnitude))
    shown = magnitude.detach().cpu()
    units = torch.empty(magnitude.shape, dtype=magnitude.dtype.to_complex())
    rows, count, bins = magnitude.shape
    lowest = first // BLOCK
    blocks = -(-(first + count) // BLOCK) - lowest

    def work(item: int, _: int) -> None:
        row, block = divmod(item, blocks)
        number = lowest + block
        low, high = max(number * BLOCK, first) - first, min((number + 1) * BLOCK, first + count) - first
        angle = _random_angles(int(seed[row]) + number, bins, shown.dtype)
        angle = angle[low + first - number * BLOCK : high + first - number * BLOCK]
        if init == "pghi":
            _integrate(shown[row, low:high], framing, angle)
        out = units[row, low:high]
        out.real, out.imag = angle.cos(), angle.sin()

    for_each_block(work, rows * blocks, 1, calls_torch=True)
    return magnitude * units.to(magnitude.device)


def _random_angles(seed: int, bins: int, dtype: torch.dtype) -> Float[Tensor, "frames n_stft"]:
    """Uniform over the circle, for a whole block, whatever part of it will be used."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    return torch.rand(BLOCK, bins, dtype=dtype, generator=generator).mul_(2 * math.pi)


def _integrate(
    magnitude: Float[Tensor, "frames n_stft"], framing: Framing, angle: Float[Tensor, "frames n_stft"]
) -> None:
    """Phase gradient heap integration, in place; the quietest cells keep the angles they have.

    For a Gaussian window exp(−π t²/γ) the phase's gradient is that of the log-magnitude, turned by a
    right angle; other windows are taken for the Gaussian of the same spread of energy.

    Source: Průša, Balazs and Søndergaard (2017), "A noniterative method for reconstruction of phase from
    STFT magnitude".
    """
    from inbounds.audio.kernels.pghi import integrate

    n_fft, hop = framing.n_fft, framing.hop_length
    energy = framing.window.detach().cpu().double().square()
    time = torch.arange(n_fft, dtype=torch.float64)
    centre = float((time * energy).sum() / energy.sum())
    gamma = 4 * math.pi * float(((time - centre).square() * energy).sum() / energy.sum())
    bins = torch.arange(magnitude.shape[1], dtype=torch.float64)
    phase = torch.empty(magnitude.shape, dtype=torch.float64)
    known = torch.zeros(magnitude.shape, dtype=torch.bool)
    loudness = magnitude.contiguous().numpy()
    integrate(
        loudness,
        np.argsort(loudness, axis=None),
        (2 * math.pi * hop / n_fft * bins).numpy(),
        -2 * math.pi * centre / n_fft,  # a frame's phases are counted from its first sample
        hop * n_fft / gamma,
        -gamma / (hop * n_fft),
        QUIETEST,
        phase.numpy(),
        known.numpy(),
    )
    angle.copy_(torch.where(known, phase.remainder(2 * math.pi), angle.double()))
