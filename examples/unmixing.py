"""Spectral unmixing: how much of each end member every pixel of a hyperspectral image holds.

Synthetic, so that the truth is known: pixels are mixtures of a few of many library spectra, with noise.
Run: python examples/unmixing.py  (500 end members, 100 000 pixels)
"""

import time

import torch
from torch import Tensor

import inbounds


def scene(
    bands: int, members: int, pixels: int, present: int = 4, noise: float = 1e-3, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Library (bands, members), pixels (bands, pixels), and their true abundances (members, pixels)."""
    generator = torch.Generator().manual_seed(seed)
    wavelength = torch.linspace(0, 1, bands, dtype=torch.float64)[:, None]
    library = torch.full((bands, members), 0.5, dtype=torch.float64)
    for _ in range(30):  # reflectances: absorption lines of random place, width and depth
        centre, width, depth = torch.rand(3, members, generator=generator, dtype=torch.float64)
        library *= 1 - 0.8 * depth * torch.exp(-(((wavelength - centre) / (0.005 + 0.03 * width)) ** 2))
    chosen = torch.rand(pixels, members, generator=generator).argsort(dim=1)[:, :present].T
    shares = torch.rand(present, pixels, generator=generator, dtype=torch.float64)
    abundances = torch.zeros(members, pixels, dtype=torch.float64).scatter_(0, chosen, shares / shares.sum(0))
    clean = library @ abundances
    return library, clean + noise * torch.randn(clean.shape, generator=generator).double(), abundances


def unmix(library: Tensor, image: Tensor) -> Tensor:
    """(members, pixels): abundances >= 0, scaled to sum to one."""
    found = inbounds.nnls(library, image)
    return found / found.sum(0).clamp(min=1e-12)


if __name__ == "__main__":
    library, image, truth = scene(bands=600, members=500, pixels=100_000)
    unmix(library, image[:, :10])
    start = time.perf_counter()
    found = unmix(library, image)
    error = (found - truth).norm(dim=0).mean()
    print(f"{image.shape[1]} pixels in {time.perf_counter() - start:.1f} s; mean abundance error {error:.3g}")
