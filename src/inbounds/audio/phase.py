"""From a magnitude spectrogram to a signal: phase retrieval.

The door: it checks, and brings everything to (b, time, n_stft). What a step does, and the loop, are in
`recurrence`; what a step costs is decided in `sweep`; where the frames lie, in `frames`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

from inbounds import _checks
from inbounds.audio.frames import PAD_MODES, Frames, Framing, make_framing
from inbounds.audio.recurrence import ADMM, AcceleratedGriffinLim, FastGriffinLim, Recurrence, Watch, retrieve
from inbounds.audio.start import STARTS, first_spectrum, seeds
from inbounds.audio.sweep import sweep_for

Callback = Callable[[int, Tensor], object]


def griffin_lim(
    magnitude: Tensor,
    *,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    n_iter: int = 32,
    momentum: float = 0.99,
    init: str | Tensor = "random",
    generator: torch.Generator | None = None,
    length: int | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    method: AcceleratedGriffinLim | ADMM | None = None,
    tolerance: float = 0.0,
    callback: Callback | None = None,
) -> Float[Tensor, "..."]:
    """A signal whose short-time Fourier transform has, as nearly as found, these magnitudes.

    Args:
        magnitude: (..., n_stft, time), ≥ 0, with n_stft = n_fft // 2 + 1. Magnitudes, not powers.
        n_fft, hop_length, win_length, center, pad_mode: as in torch.stft, which the signal will be
            analysed with; hop_length is n_fft // 4 and win_length n_fft unless given. pad_mode is
            "reflect", "constant", "replicate" or "circular".
        window: (win_length,); a periodic Hann window unless given.
        n_iter: sweeps, ≥ 0; each is one STFT and one inverse.
        momentum: of fast Griffin-Lim, ≥ 0; 0 is the original iteration, and values above 1 may not settle.
        init: the first phases: "random" (uniform over the circle), "zeros", "pghi" (phase gradient heap
            integration: what the magnitudes themselves tell of the phases; the best of the three for
            magnitudes of a real sound), or a tensor that broadcasts to magnitude's shape, of radians or
            of complex numbers whose angle is taken.
        generator: source of the random phases; the same seed gives the same signal to the bit, whatever
            the number of threads.
        length: samples of the signal. It is cut, or padded with zeros, to that; without it, the frames
            decide: hop_length · (time − 1) with center.
        method: in place of fast Griffin-Lim, `AcceleratedGriffinLim(...)` or `ADMM(...)`.
        tolerance: in dB; an item is finished when its spectral convergence changes by less between two
            sweeps. 0 does all of n_iter.
        callback: called after each sweep as callback(sweep, spectral_convergence), with the sweep counted
            from 1 and the figure in dB, one an item; raising StopIteration ends the iteration. Looking at
            the figure, for this or for `tolerance`, costs half a sweep.

    Returns:
        (..., samples), of magnitude's dtype. Half precision is computed in float32.

    A frame that holds a NaN or an infinity counts as silent while the others find their phases, and all
    samples under it come back NaN. On CPUs the work is done in compiled kernels; for magnitudes that
    require a gradient, and on other devices, in differentiable PyTorch operations.

    Raises:
        ValueError, TypeError: naming the argument, for sizes that do not fit, negative magnitudes, and
            options out of range.

    Source: Griffin and Lim (1984), "Signal estimation from modified short-time Fourier transform"; for the
    variants see `FastGriffinLim`, `AcceleratedGriffinLim` and `ADMM` in `inbounds.audio.recurrence`.

    >>> tone = torch.sin(torch.arange(4000) * 0.3)
    >>> window = torch.hann_window(256)
    >>> magnitude = torch.stft(tone, 256, window=window, return_complex=True).abs()
    >>> griffin_lim(magnitude, n_fft=256, length=4000).shape
    torch.Size([4000])
    """
    magnitude = _checked_magnitude(magnitude, n_fft)
    n_iter = _checks.integer(n_iter, "n_iter", least=0)
    tolerance = _checks.number(tolerance, "tolerance", least=0.0)
    recurrence = _checked_method(momentum, method)
    if length is not None:
        length = _checks.integer(length, "length", least=0)
    if not magnitude.numel():
        return magnitude.new_zeros(*magnitude.shape[:-2], length or 0)

    batch, compute = magnitude.shape[:-2], _compute_dtype(magnitude)
    rows = magnitude.to(compute).reshape(-1, *magnitude.shape[-2:]).mT
    broken = ~rows.sum(dim=-1).isfinite()
    rows, gain = scaled(torch.where(broken[..., None], 0.0, rows) if broken.any() else rows)
    framing = _checked_framing(n_fft, hop_length, win_length, window, center, pad_mode, rows)
    frames = framing.frames(rows.shape[1], length=length)
    spectrum = _start(rows, init, framing, magnitude.shape, generator)
    sweep = sweep_for(frames, differentiable=rows.requires_grad or spectrum.requires_grad)
    watch = _watch(callback, tolerance, batch) if callback is not None or tolerance else None
    timeline = retrieve(sweep, recurrence, spectrum, rows, n_iter, watch=watch)
    signal = mark_broken(timeline * gain, frames, broken)[:, frames.interior]
    if length is not None:
        signal = torch.nn.functional.pad(signal, (0, max(length - signal.shape[1], 0)))[:, :length]
    return signal.reshape(*batch, signal.shape[-1]).to(magnitude.dtype)


class GriffinLim(nn.Module):
    """torchaudio's module over `griffin_lim`: the same arguments in the same order.

    Args:
        n_fft, n_iter, win_length: as in `griffin_lim`.
        hop_length: win_length // 2 unless given, as in torchaudio.
        window_fn, wkwargs: the window is window_fn(win_length, **wkwargs).
        power: of the spectrogram that will come: 1 for magnitudes, 2 for powers; > 0.
        momentum, length: as in `griffin_lim`.
        rand_init: start from random phases (of modulus one, in all four quadrants), else from zeros.
        center, pad_mode, method, tolerance: as in `griffin_lim`.

    Shape: (..., n_fft // 2 + 1, time) → (..., samples).

    >>> GriffinLim(n_fft=256, n_iter=4, power=1.0)(torch.rand(2, 129, 10)).shape
    torch.Size([2, 1152])
    """

    window: Tensor

    def __init__(
        self,
        n_fft: int = 400,
        n_iter: int = 32,
        win_length: int | None = None,
        hop_length: int | None = None,
        window_fn: Callable[..., Tensor] = torch.hann_window,
        power: float = 2.0,
        wkwargs: Mapping[str, Any] | None = None,
        momentum: float = 0.99,
        length: int | None = None,
        rand_init: bool = True,
        *,
        center: bool = True,
        pad_mode: str = "reflect",
        method: AcceleratedGriffinLim | ADMM | None = None,
        tolerance: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_fft = _checks.integer(n_fft, "n_fft", least=1)
        self.win_length = self.n_fft if win_length is None else win_length
        self.hop_length = self.win_length // 2 if hop_length is None else hop_length
        self.power = _checks.number(power, "power", above=0.0)
        self.options = {
            "n_iter": n_iter,
            "momentum": momentum,
            "length": length,
            "init": "random" if rand_init else "zeros",
            "center": center,
            "pad_mode": pad_mode,
            "method": method,
            "tolerance": tolerance,
        }
        self.register_buffer("window", window_fn(self.win_length, **(wkwargs or {})), persistent=False)

    def forward(self, specgram: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """The signal of a spectrogram (..., n_stft, time) of the power given at construction."""
        return griffin_lim(
            _checks.floating(specgram, "specgram", rank=2).pow(1 / self.power),
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            window=self.window,
            generator=generator,
            **self.options,
        )


def _checked_framing(
    n_fft: int,
    hop_length: int | None,
    win_length: int | None,
    window: Tensor | None,
    center: bool,
    pad_mode: str,
    like: Tensor,
) -> Framing:
    hop_length = _checks.integer(
        max(n_fft // 4, 1) if hop_length is None else hop_length, "hop_length", least=1
    )
    win_length = _checks.integer(n_fft if win_length is None else win_length, "win_length", least=1)
    if win_length > n_fft:
        raise ValueError(f"win_length must be at most n_fft, {n_fft}; got {win_length}")
    if hop_length > win_length:
        raise ValueError(f"hop_length must be at most win_length, {win_length}; got {hop_length}")
    if window is None:
        window = torch.hann_window(win_length, dtype=like.dtype)
    window = _checks.floating(window, "window").detach().to(like)
    if window.shape != (win_length,) or not window.any():
        raise ValueError(f"window must be ({win_length},) and not all zero; got {_checks.describe(window)}")
    _checks.choice(pad_mode, "pad_mode", PAD_MODES)
    return make_framing(window, n_fft, hop_length, n_fft // 2 if center else 0, pad_mode)


def scaled(
    rows: Float[Tensor, "b time n_stft"],
) -> tuple[Float[Tensor, "b time n_stft"], Float[Tensor, "b 1"]]:
    """Contiguous magnitudes with a maximum in [1, 2), and what they were divided by.

    The divisor is a power of two: it changes no bit of a mantissa, and keeps squares within float32.
    """
    peak = rows.detach().amax(dim=(-2, -1))
    exponent = torch.frexp(peak).exponent - 1
    gain = torch.ldexp(torch.ones_like(peak), torch.where(peak > 0, exponent, 0))[:, None]
    return (rows / gain[..., None]).contiguous(), gain


def mark_broken(
    timeline: Float[Tensor, "b span"], frames: Frames, broken: Bool[Tensor, "b time"]
) -> Float[Tensor, "b span"]:
    """NaN in all samples under a broken frame."""
    if not broken.any():
        return timeline
    covered = torch.zeros_like(timeline, dtype=torch.bool)
    for row, frame in broken.nonzero().tolist():
        start = frame * frames.hop_length
        covered[row, start : start + frames.n_fft] = True
    return timeline.masked_fill(covered, math.nan)


def _start(
    rows: Float[Tensor, "b time n_stft"],
    init: str | Tensor,
    framing: Framing,
    shape: torch.Size,
    generator: torch.Generator | None,
) -> Complex[Tensor, "b time n_stft"]:
    if isinstance(init, Tensor):
        phase = _checks.broadcastable(init, "init", shape, "magnitude")
        phase = (phase.angle() if phase.is_complex() else phase).to(rows)
        return torch.polar(rows, phase.reshape(-1, *shape[-2:]).mT.contiguous())
    init = str(_checks.choice(init, "init", STARTS))
    return first_spectrum(rows, init, framing, seeds(len(rows), generator))


def _checked_magnitude(magnitude: object, n_fft: object) -> Tensor:
    checked = _checks.floating(magnitude, "magnitude", rank=2)
    bins = _checks.integer(n_fft, "n_fft", least=1) // 2 + 1
    if checked.shape[-2] != bins:
        hint = "; time first? use magnitude.mT" if checked.shape[-1] == bins else ""
        raise ValueError(
            f"magnitude must be (..., {bins}, time) for n_fft={n_fft}; got {_checks.describe(checked)}{hint}"
        )
    if checked.numel() and bool((checked < 0).any()):
        raise ValueError(f"magnitude must not be negative; {_checks.violations(checked < 0)}")
    return checked


def _checked_method(momentum: float, method: AcceleratedGriffinLim | ADMM | None) -> Recurrence:
    if method is None:
        return FastGriffinLim(momentum)
    if not isinstance(method, AcceleratedGriffinLim | ADMM):
        raise TypeError(
            f"method must be None, an AcceleratedGriffinLim or an ADMM; got {_checks.describe(method)}"
        )
    if momentum != 0.99:
        raise ValueError(f"momentum belongs to fast Griffin-Lim, method=None; got {momentum} with {method}")
    return method


def _watch(callback: Callback | None, tolerance: float, batch: torch.Size) -> Watch:
    """What the loop calls after a sweep: the user's callback, and which rows go on."""
    last: Tensor | None = None
    running: Tensor | None = None

    def watch(sweep: int, convergence: Tensor) -> Tensor:
        nonlocal last, running
        if running is None:
            running = torch.ones_like(convergence, dtype=torch.bool)
        if last is not None:
            running = running & ~((convergence - last).abs() < tolerance)
            # −inf − −inf is NaN: an exact answer stays exact
            running = running & (convergence > -math.inf)
        last = convergence
        if callback is not None:
            callback(sweep, convergence.detach().reshape(batch))
        return running

    return watch


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
