"""NNLS chroma: how loud each note sounds in each frame, folded to the twelve pitch classes.

Every frame of a magnitude spectrogram is explained as a non-negative mixture of notes, each a series of
decaying partials (Mauch & Dixon 2010). Run: python examples/chroma.py CLIP.flac
"""

import sys

import torch
from torch import Tensor

import inbounds

NOTES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]


def note_dictionary(
    n_fft: int,
    sample_rate: float,
    lowest: int = 36,
    highest: int = 95,
    partials: int = 12,
    decay: float = 0.7,
) -> Tensor:
    """(n_fft // 2 + 1, notes): the magnitude spectrum of each MIDI note under a Hann window."""
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    midi = torch.arange(lowest, highest + 1, dtype=torch.float64)
    fundamental = 440.0 * 2.0 ** ((midi - 69.0) / 12.0) * n_fft / sample_rate  # in bins
    spectrum = torch.zeros(len(bins), len(midi), dtype=torch.float64)
    for partial in range(1, partials + 1):
        away = bins[:, None] - partial * fundamental
        hann = torch.sinc(away) + 0.5 * (torch.sinc(away - 1) + torch.sinc(away + 1))
        spectrum += decay ** (partial - 1) * hann.abs() * (away.abs() < 2)
    return spectrum


def chroma(wave: Tensor, sample_rate: float, n_fft: int = 8192, hop: int = 2048) -> Tensor:
    """(12, frames), each frame's largest entry 1; from a mono wave (samples,)."""
    window = torch.hann_window(n_fft, dtype=torch.float64)
    spectrogram = torch.stft(wave.double(), n_fft, hop, window=window, return_complex=True).abs()
    dictionary = note_dictionary(n_fft, sample_rate)
    activations = inbounds.nnls(dictionary, spectrogram)  # (60, frames), C2 upwards
    folded = activations.reshape(-1, 12, activations.shape[-1]).sum(0)
    return folded / folded.amax(0).clamp(min=1e-12)


if __name__ == "__main__":
    import soundfile

    samples, rate = soundfile.read(sys.argv[1], always_2d=True)
    mean = chroma(torch.from_numpy(samples.mean(axis=1)), rate).mean(1)
    for name, level in zip(NOTES, mean.tolist(), strict=True):
        print(f"{name:2} {'█' * round(40 * level)}")
