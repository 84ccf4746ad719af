"""Mel spectrograms back to linear frequency: the exact non-negative optimum, and the shortcuts beside it."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inbounds import _checks
from inbounds.audio import shortcuts
from inbounds.audio.filters import mel_filter_bank
from inbounds.nnls import anybank, banded
from inbounds.nnls.bands import bands
from inbounds.nnls.distances import DISTANCES
from inbounds.nnls.info import Info
from inbounds.nnls.kkt import kkt_residual

_SHORTCUTS: dict[str, Callable[..., Tensor]] = {
    "lstsq": shortcuts.clamped_lstsq,
    "pinv": shortcuts.clamped_pinv,
    "sgd": shortcuts.sgd,
}
METHODS = ("nnls", "lbfgsb", *_SHORTCUTS)
PRIORS = ("envelope", "flat")
# torch.linalg.lstsq's, torchaudio's last argument.
DRIVERS = ("gels", "gelsy", "gelsd", "gelss")

_NEGATIVE = (
    "mel must hold energies or magnitudes, which are never negative (undo decibels and logarithms first, "
    "for example with 10 ** (mel / 10) for decibels of a power)"
)


def inverse_mel_scale(
    mel: Tensor,
    filters: Tensor,
    *,
    method: str = "nnls",
    prior: str | Tensor = "envelope",
    distance: str = "quadratic",
    full_output: bool = False,
) -> Any:
    """Invert filtersᵀ @ spectrogram = mel for a spectrogram ≥ 0.

    A mel spectrogram has fewer bands than the spectrogram has bins, so that many spectrograms meet it
    exactly. Method "nnls" returns the one nearest to a prior; where none meets it (a network's output,
    noise), the nearest to the prior among those of least squared error. Every frame is solved on its own.

    Args:
        mel: (..., n_mels, time), energies or magnitudes ≥ 0 (not decibels), any strides. A frame with a NaN
            or an infinity comes back NaN.
        filters: the bank, (n_stft, n_mels), non-negative, as `mel_filter_bank` gives it.
        method: "nnls", exact; "lbfgsb", the same by L-BFGS-B, every frame to a relative residual of 1e-7; or,
            for comparison, "lstsq" and "pinv", least squares clamped at zero, and "sgd", gradient descent
            from a random start.
        prior: of "nnls" and "lbfgsb". "envelope": the bands' levels, interpolated between their centres;
            "flat": no preference (the smallest norm); or a spectrogram ≥ 0, broadcastable to the answer,
            whose small values are lifted to -60 dB of the envelope so that every bin can sound.
        distance: of "nnls" to its prior, for banks whose bins lie in at most two adjacent filters (others,
            and "lbfgsb", take "quadratic" only): "quadratic" (of relative deviations; plain with "flat"),
            "kl" (Kullback-Leibler) or "is" (Itakura-Saito).
        full_output: also return an `Info` per frame; of "nnls" and "lbfgsb" only.

    Returns:
        (..., n_stft, time) in the dtype of mel, differentiable; with full_output, (spectrogram, Info).

    Raises:
        ValueError, TypeError: if mel is negative, or an argument is out of range.

    >>> bank = mel_filter_bank(201, 40, 16000)
    >>> mel = bank.T @ torch.rand(201, 10)
    >>> torch.allclose(bank.T @ inverse_mel_scale(mel, bank), mel, rtol=1e-4)
    True
    """
    mel, filters = _checked(mel, filters)
    method = str(_checks.choice(method, "method", METHODS))
    exact = method in ("nnls", "lbfgsb")
    if full_output and not exact:
        raise ValueError(f'full_output is of methods "nnls" and "lbfgsb"; got method {method!r}')
    working = torch.promote_types(mel.dtype, torch.float32)
    bank = filters.to(working)
    if exact:
        return _nnls(mel, bank, method, prior, distance, full_output)
    return _shortcut(mel, bank, _SHORTCUTS[method])


def _shortcut(mel: Tensor, bank: Tensor, invert: Callable[..., Tensor], **options: Any) -> Tensor:
    _refuse_negative(mel, _NEGATIVE)
    if mel.numel() == 0:
        return mel.new_zeros(*mel.shape[:-2], bank.shape[0], mel.shape[-1])
    return invert(mel.to(bank.dtype), bank, **options).to(mel.dtype)


def _nnls(
    mel: Tensor, bank: Tensor, method: str, prior: str | Tensor, distance: str, full_output: bool
) -> Any:
    _checks.choice(distance, "distance", DISTANCES)
    batch, n_mels, time = mel.shape[:-2], mel.shape[-2], mel.shape[-1]
    if isinstance(prior, Tensor):
        target = (*batch, bank.shape[0], time)
        prior = _checks.broadcastable(prior, "prior", target, "the answer").to(mel.dtype)
        prior = prior.reshape(math.prod(batch), bank.shape[0], time)
        _refuse_negative(prior, "prior must not be negative")
    else:
        _checks.choice(prior, "prior", PRIORS)
    relative = isinstance(prior, Tensor) or prior == "envelope"
    columns = mel.reshape(math.prod(batch), n_mels, time)
    x, nit, converged = _solve(bank.mT, columns, method, prior, distance, relative)
    x = x.reshape(*batch, bank.shape[0], time)
    if not full_output:
        return x
    wide = x.to(bank.dtype)
    residual = torch.linalg.vector_norm(bank.mT @ wide - mel, dim=-2)
    kkt = kkt_residual(bank.mT, mel.to(bank.dtype), wide)
    return x, Info(residual, kkt, nit.reshape(*batch, time), converged.reshape(*batch, time))


def _solve(
    matrix: Tensor, columns: Tensor, method: str, prior: str | Tensor, distance: str, relative: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """By the bank's bands if it has them (a bank that is being compiled is taken to), else densely."""
    if method == "nnls" and (torch.compiler.is_compiling() or bands(matrix) is not None):
        return banded.solve_columns(
            matrix, columns, prior=prior, distance=distance, relative=relative, if_negative=_NEGATIVE
        )
    if distance != "quadratic":
        which = 'method "lbfgsb"' if method == "lbfgsb" else "a bank without bands"
        raise ValueError(f'distance must be "quadratic" for {which}; got {distance!r}')
    _refuse_negative(columns, _NEGATIVE)
    solver = "lbfgsb" if method == "lbfgsb" else "dense"
    return anybank.solve_columns(matrix, columns, prior=prior, relative=relative, method=solver)


def _checked(mel: object, filters: object) -> tuple[Tensor, Tensor]:
    mel = _checks.floating(mel, "mel", rank=2)
    filters = _checks.floating(filters, "filters", rank=2)
    if filters.ndim != 2:
        raise ValueError(f"filters must have shape (n_stft, n_mels); got {_checks.describe(filters)}")
    _checks.same_device(filters, "filters", mel, "mel")
    # A bank known to have bands is finite.
    if not (torch.compiler.is_compiling() or bands(filters.mT) or bool(filters.detach().isfinite().all())):
        raise ValueError(f"filters must be finite; {_checks.violations(~filters.detach().isfinite())}")
    n_stft, n_mels = filters.shape
    if mel.shape[-2] != n_mels:
        hint = "; time first? use mel.mT" if mel.shape[-1] == n_mels else ""
        raise ValueError(
            f"mel must be shaped (..., n_mels, time) with n_mels = {n_mels}, as filters of shape "
            f"{(n_stft, n_mels)} have; got {_checks.describe(mel)}{hint}"
        )
    return mel, filters


def _refuse_negative(value: Tensor, rule: str) -> None:
    # A graph being compiled has no place for an error that depends on values. A NaN passes.
    if not torch.compiler.is_compiling() and bool((value.detach() < 0.0).any()):
        raise ValueError(f"{rule}; {_checks.violations(value.detach() < 0.0)}")


class InverseMelScale(nn.Module):
    """`inverse_mel_scale` with its own bank; takes the place of torchaudio.transforms.InverseMelScale.

    Args:
        n_stft: bins of the spectrogram, n_fft // 2 + 1.
        n_mels: bands of the mel spectrogram.
        sample_rate: in Hz.
        f_min: lower edge of the bank in Hz.
        f_max: upper edge in Hz; None is sample_rate / 2.
        norm: None or "slaney"; see `mel_filter_bank`.
        mel_scale: "htk" or "slaney".
        driver: torchaudio's; no longer means anything.
        method, prior, distance: see `inverse_mel_scale`.
        filters: your own bank (n_stft, n_mels) in place of the mel bank.
        max_iter, tolerance_loss, tolerance_change, sgdargs: of torchaudio's first version; they steer method
            "sgd" and mean nothing to the others.

    Warns:
        DeprecationWarning: where an argument of torchaudio's means nothing any more.

    The bank is the buffer `fb`, as in torchaudio, so that its checkpoints load. It is a float32 buffer; a
    float64 mel is computed in float64 all the same.

    >>> invert = InverseMelScale(201, n_mels=40)
    >>> invert(torch.rand(2, 40, 10)).shape
    torch.Size([2, 201, 10])
    """

    fb: Tensor

    def __init__(
        self,
        n_stft: int,
        n_mels: int = 128,
        sample_rate: float = 16000,
        f_min: float = 0.0,
        f_max: float | None = None,
        norm: str | None = None,
        mel_scale: str = "htk",
        driver: str | None = None,
        *,
        method: str = "nnls",
        prior: str | Tensor = "envelope",
        distance: str = "quadratic",
        filters: Tensor | None = None,
        max_iter: int | None = None,
        tolerance_loss: float | None = None,
        tolerance_change: float | None = None,
        sgdargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.n_stft = _checks.integer(n_stft, "n_stft", least=1)
        self.n_mels = _checks.integer(n_mels, "n_mels", least=1)
        self.sample_rate, self.f_min = sample_rate, f_min
        self.f_max = sample_rate / 2 if f_max is None else f_max
        self.norm, self.mel_scale = norm, mel_scale
        self.method = str(_checks.choice(method, "method", METHODS))
        self.prior = prior if isinstance(prior, Tensor) else str(_checks.choice(prior, "prior", PRIORS))
        self.distance = str(_checks.choice(distance, "distance", DISTANCES))
        _checks.choice(driver, "driver", (None, *DRIVERS))
        self._sgd: dict[str, Any] = {
            name: value
            for name, value in (
                ("max_iter", max_iter),
                ("tolerance_loss", tolerance_loss),
                ("tolerance_change", tolerance_change),
                ("sgdargs", sgdargs),
            )
            if value is not None
        }
        idle = [] if method == "sgd" else list(self._sgd)
        idle += ["driver"] if driver is not None else []
        if idle:
            warnings.warn(
                f"{', '.join(idle)}: without meaning for method {method!r}; remove from the call",
                DeprecationWarning,
                stacklevel=2,
            )
        self.register_buffer("fb", self._bank(filters))
        self._cached_inverse: tuple[tuple[Any, ...], Tensor] | None = None

    def _bank(self, filters: Tensor | None) -> Tensor:
        if filters is None:
            return mel_filter_bank(
                self.n_stft,
                self.n_mels,
                self.sample_rate,
                f_min=self.f_min,
                f_max=self.f_max,
                norm=self.norm,
                mel_scale=self.mel_scale,
                dtype=torch.float32,
            )
        filters = _checks.floating(filters, "filters", rank=2)
        if filters.shape != (self.n_stft, self.n_mels):
            raise ValueError(
                f"filters must have shape (n_stft, n_mels) = {(self.n_stft, self.n_mels)}; "
                f"got {_checks.describe(filters)}"
            )
        return filters.detach().clone()

    def forward(self, melspec: Tensor) -> Tensor:
        """Mel spectrogram (..., n_mels, time) to spectrogram (..., n_stft, time)."""
        if self.method == "sgd":
            mel, filters = _checked(melspec, self.fb)
            bank = filters.to(torch.promote_types(mel.dtype, torch.float32))
            return _shortcut(mel, bank, shortcuts.sgd, **self._sgd)
        if self.method == "pinv" and not torch.compiler.is_compiling():
            mel, _ = _checked(melspec, self.fb)
            _refuse_negative(mel, _NEGATIVE)
            inverse = self._pseudo_inverse(mel)
            return (inverse @ mel.to(inverse.dtype)).clamp(min=0.0).to(mel.dtype)
        return inverse_mel_scale(
            melspec, self.fb, method=self.method, prior=self.prior, distance=self.distance
        )

    def _pseudo_inverse(self, mel: Tensor) -> Tensor:
        """Of the bank, in mel's working precision: computed once for as long as the bank is the same."""
        working = torch.promote_types(mel.dtype, torch.float32)
        version = None if self.fb.is_inference() else self.fb._version
        key = (self.fb.data_ptr(), version, self.fb.device, working)
        if self._cached_inverse is None or self._cached_inverse[0] != key:
            self._cached_inverse = key, torch.linalg.pinv(self.fb.to(working).mT)
        return self._cached_inverse[1]

    def extra_repr(self) -> str:
        """The bank and the method."""
        prior = repr(self.prior) if isinstance(self.prior, str) else f"a tensor of {tuple(self.prior.shape)}"
        return (
            f"n_stft={self.n_stft}, n_mels={self.n_mels}, sample_rate={self.sample_rate:g}, "
            f"mel_scale={self.mel_scale!r}, norm={self.norm!r}, method={self.method!r}, "
            f"prior={prior}, distance={self.distance!r}"
        )
