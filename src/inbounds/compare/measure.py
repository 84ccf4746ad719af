"""How near a reconstruction is to the source: the figures of the table."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from inbounds.audio.melspec import MelSpec
from inbounds.audio.metrics import log_spectral_distance, mel_residual, spectral_convergence

PESQ_RATE = 16000  # wide band
PESQ_SECONDS = 30  # what it was made for; its C code has no room for many more utterances


class Figures(NamedTuple):
    """One way's row of the table; means over the channels. None where a figure could not be had."""

    seconds: float
    magnitude_seconds: float
    mel_residual: float | None
    magnitude_convergence: float | None
    convergence: float | None
    log_spectral_distance: float | None
    pesq: float | None
    stoi: float | None


class Column(NamedTuple):
    """How a figure is shown: its unit, whether less is better, and what it means."""

    title: str
    unit: str
    less_is_better: bool
    digits: int
    meaning: str


COLUMNS = {
    "seconds": Column("Time", "s", True, 2, "from mel to sound, on this machine, in this run"),
    "magnitude_seconds": Column("Inversion", "s", True, 3, "of which: from mel to the linear spectrogram"),
    "mel_residual": Column("Mel residual", "", True, 4, "‖Ax − mel‖ / ‖mel‖ of the linear spectrogram"),
    "magnitude_convergence": Column(
        "SC before phase", "dB", True, 1, "of the spectrogram against the source's"
    ),
    "convergence": Column("SC", "dB", True, 1, "spectral convergence of the sound: ‖|Ŝ| − |S|‖ / ‖S‖"),
    "log_spectral_distance": Column("LSD", "dB", True, 2, "log-spectral distance of the sound, floor −80 dB"),
    "pesq": Column("PESQ", "", False, 2, "wide band, first 30 s, 1 to 4.6; made for speech"),
    "stoi": Column("STOI", "", False, 3, "intelligibility, 0 to 1; made for speech"),
}


def measure(
    source: Float[Tensor, "channels samples"],
    audio: Float[Tensor, "channels samples"],
    magnitude: Float[Tensor, "channels n_stft time"],
    mel: Float[Tensor, "channels n_mels time"],
    spec: MelSpec,
    *,
    magnitude_seconds: float,
    seconds: float,
) -> Figures:
    """Compare a reconstruction, and the magnitudes it was made from, with the source."""
    true = spec.magnitude(source)
    sounding = spec.magnitude(audio)
    residual = mel_residual(magnitude.pow(spec.power), mel, spec.bank(dtype=mel.dtype))
    return Figures(
        seconds=seconds,
        magnitude_seconds=magnitude_seconds,
        mel_residual=_mean(residual),
        magnitude_convergence=_mean(spectral_convergence(magnitude, true)),
        convergence=_mean(spectral_convergence(sounding, true)),
        log_spectral_distance=_mean(log_spectral_distance(sounding, true)),
        pesq=_per_channel(_pesq, source, audio, spec.sample_rate),
        stoi=_per_channel(_stoi, source, audio, spec.sample_rate),
    )


def shown(name: str, value: float | None) -> str:
    """A figure as text, to the digits its column has; "-" where there is none."""
    if value is None:
        return "-"
    digits = COLUMNS[name].digits
    return f"{value:.1e}" if 0 < abs(value) < 10**-digits else f"{value:.{digits}f}"


def missing_measures() -> list[str]:
    """The optional packages that are not installed, whose columns stay empty."""
    from importlib.util import find_spec

    return [name for name in ("pesq", "pystoi") if find_spec(name) is None]


def _mean(values: Tensor) -> float | None:
    mean = values.double().mean().item()
    return mean if np.isfinite(mean) else None


def _per_channel(
    judge: Callable[[np.ndarray, np.ndarray, int], float], source: Tensor, audio: Tensor, rate: int
) -> float | None:
    """The mean of a judgement over the channels; None where the package is absent, or refuses the sound."""
    if not source.any(dim=-1).all():
        return None  # nothing to judge in silence
    scores = []
    for true, made in zip(source, audio, strict=True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # too short, or silent
                scores.append(judge(true.double().numpy(), made.double().numpy(), rate))
        except (ImportError, RuntimeError, RuntimeWarning, ValueError):
            return None
    return float(np.mean(scores))


def _pesq(source: np.ndarray, audio: np.ndarray, rate: int) -> float:
    import pesq
    import soxr

    judged = slice(PESQ_SECONDS * rate)
    true, made = (soxr.resample(sound[judged], rate, PESQ_RATE) for sound in (source, audio))
    return pesq.pesq(PESQ_RATE, true, made, "wb")


def _stoi(source: np.ndarray, audio: np.ndarray, rate: int) -> float:
    import pystoi

    return pystoi.stoi(source, audio, rate)
