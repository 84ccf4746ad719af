"""What happens to a block of frames between the Fourier transforms, each step one pass in cache.

Shapes: timeline (b, span); a block of n frames of r rows is (r, n, n_fft) in time and (r, n, f) in frequency.
"""

import numpy as np

from inbounds._jit import VECTORISED, kernel


@kernel(fastmath=VECTORISED)
def gather(timeline, first, hop, window, frames):
    """Windowed frames first, first + 1, … of every row of the timeline."""
    rows, count, size = frames.shape
    for row in range(rows):
        for frame in range(count):
            start = (first + frame) * hop
            samples = timeline[row, start : start + size]
            out = frames[row, frame]
            for k in range(size):
                out[k] = samples[k] * window[k]


@kernel(fastmath=VECTORISED)
def overlap_add(frames, hop, window, total):
    """Windowed frames, added up `hop` samples apart: total (r, (n − 1) hop + n_fft)."""
    rows, count, size = frames.shape
    for row in range(rows):
        total[row, : (count - 1) * hop + size] = 0
        for frame in range(count):
            samples = frames[row, frame]
            out = total[row, frame * hop : frame * hop + size]
            for k in range(size):
                out[k] += samples[k] * window[k]


@kernel(fastmath=VECTORISED)
def join(parts, stride, weight, start, stop, timeline):
    """Samples [start, stop) of the timeline from its parts, which begin `stride` apart and overlap by less.

    Each sample is the sum of at most two parts, so the order of summing, and with it every bit, is fixed.
    """
    rows, count, size = parts.shape
    for row in range(rows):
        out = timeline[row]
        for part in range(start // stride, min((stop - 1) // stride + 1, count)):
            low = max(start, part * stride)
            high = stop if part == count - 1 else min(stop, (part + 1) * stride)
            here = parts[row, part]
            offset = part * stride
            for t in range(low, high):
                out[t] = here[t - offset] * weight[t]
            if part > 0:
                before = parts[row, part - 1]
                offset -= stride
                for t in range(low, min(high, offset + size)):
                    out[t] += before[t - offset] * weight[t]


@kernel(fastmath=VECTORISED)
def impose(spectrum, magnitude):
    """Give a spectrum these magnitudes and keep its phases; the phase of zero is zero."""
    rows, count, bins = spectrum.shape
    least = np.finfo(magnitude.dtype).tiny
    for row in range(rows):
        for frame in range(count):
            values = spectrum[row, frame]
            target = magnitude[row, frame]
            for k in range(bins):
                real, imaginary = values[k].real, values[k].imag
                power = real * real + imaginary * imaginary
                scale = target[k] / np.sqrt(max(power, least))
                values[k] = complex(real * scale if power >= least else target[k], imaginary * scale)


@kernel(fastmath=VECTORISED)
def reflect(spectrum, memory, magnitude, relaxation):
    """One ADMM update of `memory` (v) from `spectrum` (R, the STFT of v's signal); both become the new v.

    x has this magnitude and the phase of 2R − (1 − ρ)v; the new v is x + (v − R)/(1 + ρ).
    """
    rows, count, bins = spectrum.shape
    least = np.finfo(magnitude.dtype).tiny
    keep, share = 1 - relaxation, 1 / (1 + relaxation)
    for row in range(rows):
        for frame in range(count):
            values = spectrum[row, frame]
            old = memory[row, frame]
            target = magnitude[row, frame]
            for k in range(bins):
                real = 2 * values[k].real - keep * old[k].real
                imaginary = 2 * values[k].imag - keep * old[k].imag
                power = real * real + imaginary * imaginary
                scale = target[k] / np.sqrt(max(power, least))
                real = real * scale if power >= least else target[k]
                new = complex(
                    real + share * (old[k].real - values[k].real),
                    imaginary * scale + share * (old[k].imag - values[k].imag),
                )
                old[k] = new
                values[k] = new


@kernel(fastmath=VECTORISED)
def modulus(spectrum, magnitude):
    """The magnitudes of a spectrum."""
    rows, count, bins = spectrum.shape
    for row in range(rows):
        for frame in range(count):
            values = spectrum[row, frame]
            out = magnitude[row, frame]
            for k in range(bins):
                out[k] = np.sqrt(values[k].real * values[k].real + values[k].imag * values[k].imag)


@kernel(fastmath=VECTORISED)
def extrapolate(low, high, amount, start, stop, out):
    """Samples [start, stop) of low + amount (high − low)."""
    for row in range(out.shape[0]):
        for t in range(start, stop):
            out[row, t] = low[row, t] + amount * (high[row, t] - low[row, t])
