"""A gammatone-like bank inverted: InverseMelScale with filters of your own.

The filters are as wide as the ear's (one ERB, Glasberg & Moore 1990) and overlap with many neighbours, so
this bank has no bands: the dense solver takes it. Run: python examples/gammatone.py CLIP.flac
"""

import sys

import torch
from torch import Tensor

from inbounds.audio.inverse import InverseMelScale


def erb_filters(n_stft: int, n_filters: int, sample_rate: float, f_min: float = 50.0) -> Tensor:
    """(n_stft, n_filters): squared magnitude responses of 4th-order gammatones, evenly spaced in ERB rate."""
    frequency = torch.linspace(0, sample_rate / 2, n_stft, dtype=torch.float64)[:, None]

    def rate(hertz: Tensor) -> Tensor:
        return 21.4 * torch.log10(1 + 0.00437 * hertz)

    ends = rate(torch.tensor([f_min, 0.9 * sample_rate / 2], dtype=torch.float64))
    steps = ends[0] + (ends[1] - ends[0]) * torch.linspace(0, 1, n_filters, dtype=torch.float64)
    centre = (10 ** (steps / 21.4) - 1) / 0.00437
    width = 1.019 * 24.7 * (1 + 0.00437 * centre)
    return (1 + ((frequency - centre) / width) ** 2) ** -4.0


def round_trip(
    wave: Tensor, sample_rate: float, n_fft: int = 1024, n_filters: int = 64
) -> tuple[Tensor, ...]:
    """Power spectrogram, its bank energies, and the spectrogram recovered from those alone."""
    window = torch.hann_window(n_fft, dtype=wave.dtype)
    power = torch.stft(wave, n_fft, n_fft // 4, window=window, return_complex=True).abs().square()
    filters = erb_filters(n_fft // 2 + 1, n_filters, sample_rate)
    energies = filters.T.to(power.dtype) @ power
    invert = InverseMelScale(n_fft // 2 + 1, n_filters, filters=filters)
    return power, energies, invert(energies)


if __name__ == "__main__":
    import soundfile

    samples, rate = soundfile.read(sys.argv[1], always_2d=True)
    power, energies, found = round_trip(torch.from_numpy(samples.mean(axis=1)), rate)
    error = (found.sqrt() - power.sqrt()).norm() / power.sqrt().norm()
    again = erb_filters(power.shape[0], energies.shape[0], rate).T @ found
    print(f"energies met to {((again - energies).norm() / energies.norm()).item():.1e} relative")
    print(f"spectral convergence {20 * error.log10().item():.1f} dB")
