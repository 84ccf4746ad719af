"""The family of phase iterations, and the one loop they run in.

Two sets are to be met: the spectrograms with the given magnitudes, and those that are the STFT of some
signal. A sweep projects on the first and then on the second, P. Griffin-Lim repeats that; the others
look further along the way it goes. A signal's STFT is linear, so whatever these recurrences combine
linearly can be combined as signals: all but ADMM need no spectrum kept between two sweeps.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from inbounds import _checks
from inbounds.audio.metrics import relative_error_db
from inbounds.audio.sweep import Change, Sweep


class State(NamedTuple):
    """Where an iteration is. All timelines are (b, span).

    Attributes:
        estimate: what would be returned now; synthesised from exactly the given magnitudes, but for ADMM,
            which synthesises its memory.
        ahead: where the next sweep starts (c in the papers).
        average: the sequence that is extrapolated (t).
        relaxed: the second extrapolation (d), which only the accelerated variant has.
        memory: ADMM's v, (b, time, n_stft); the others have none.
    """

    estimate: Float[Tensor, "b span"]
    ahead: Float[Tensor, "b span"]
    average: Float[Tensor, "b span"]
    relaxed: Float[Tensor, "b span"] | None = None
    memory: Complex[Tensor, "b time n_stft"] | None = None


class Recurrence(ABC):
    """One way through the family."""

    @abstractmethod
    def start(self, sweep: Sweep, spectrum: Complex[Tensor, "b time n_stft"]) -> State:
        """The state before the first sweep, from a spectrum with the given magnitudes."""

    @abstractmethod
    def advance(self, sweep: Sweep, state: State, magnitude: Float[Tensor, "b time n_stft"]) -> State:
        """One sweep."""


@dataclass(frozen=True)
class FastGriffinLim(Recurrence):
    """Fast Griffin-Lim: the next sweep starts `momentum` steps beyond the last one's result.

    0 is Griffin and Lim's own iteration, which never gets worse; 0.99 gets further, sooner.

    Source: Perraudin, Balazs and Søndergaard (2013), "A fast Griffin-Lim algorithm".
    """

    momentum: float = 0.99

    def __post_init__(self) -> None:
        _checks.number(self.momentum, "momentum", least=0.0)

    def start(self, sweep: Sweep, spectrum: Complex[Tensor, "b time n_stft"]) -> State:
        """The estimate is also where the first sweep starts."""
        estimate = sweep.synthesise(spectrum)
        return State(estimate, estimate, estimate)

    def advance(self, sweep: Sweep, state: State, magnitude: Float[Tensor, "b time n_stft"]) -> State:
        """One sweep."""
        estimate = sweep.impose(state.ahead, magnitude)
        return State(estimate, sweep.extrapolate(state.estimate, estimate, 1 + self.momentum), estimate)


@dataclass(frozen=True)
class AcceleratedGriffinLim(Recurrence):
    """Accelerated Griffin-Lim: t = (1 − γ) d + γ P(c), then c and d extrapolate t by α and by β.

    Source: Nenov, Nguyen, Balazs and Boţ (2023), "Accelerated Griffin-Lim algorithm: a fast and provably
    converging numerical method for phase retrieval", whose letters these are.
    """

    alpha: float = 0.99
    beta: float = 0.99
    gamma: float = 1.1

    def __post_init__(self) -> None:
        _checks.number(self.alpha, "alpha", least=0.0)
        _checks.number(self.beta, "beta", least=0.0)
        _checks.number(self.gamma, "gamma", above=0.0)

    def start(self, sweep: Sweep, spectrum: Complex[Tensor, "b time n_stft"]) -> State:
        """The estimate is also where the first sweep starts."""
        estimate = sweep.synthesise(spectrum)
        return State(estimate, estimate, estimate, relaxed=estimate)

    def advance(self, sweep: Sweep, state: State, magnitude: Float[Tensor, "b time n_stft"]) -> State:
        """One sweep."""
        assert state.relaxed is not None
        estimate = sweep.impose(state.ahead, magnitude)
        average = sweep.extrapolate(state.relaxed, estimate, self.gamma)
        ahead = sweep.extrapolate(state.average, average, 1 + self.alpha)
        return State(estimate, ahead, average, sweep.extrapolate(state.average, average, 1 + self.beta))


@dataclass(frozen=True)
class ADMM(Recurrence):
    """The alternating direction method of multipliers, consistency being asked for by a relaxed distance.

    It remembers, bin by bin, what consistency has refused so far, and so needs a spectrum of memory.

    Attributes:
        relaxation: ρ ≥ 0, how much of the inconsistency is forgiven; 0 asks for strict consistency.

    Source: Masuyama, Yatabe and Oikawa (2019), "Griffin-Lim like phase recovery via alternating direction
    method of multipliers", with its x, z and u combined in v = x + u.
    """

    relaxation: float = 0.1

    def __post_init__(self) -> None:
        _checks.number(self.relaxation, "relaxation", least=0.0)

    def start(self, sweep: Sweep, spectrum: Complex[Tensor, "b time n_stft"]) -> State:
        """The estimate is also where the first sweep starts."""
        estimate = sweep.synthesise(spectrum)
        return State(estimate, estimate, estimate, memory=spectrum)

    def advance(self, sweep: Sweep, state: State, magnitude: Float[Tensor, "b time n_stft"]) -> State:
        """One sweep."""
        assert state.memory is not None
        ahead, memory = sweep.reflect(state.ahead, state.memory, magnitude, self.relaxation)
        return State(ahead, ahead, ahead, memory=memory)


Refine = Callable[[int], Change | None]
Watch = Callable[[int, Tensor], Tensor]


def retrieve(
    sweep: Sweep,
    recurrence: Recurrence,
    spectrum: Complex[Tensor, "b time n_stft"],
    magnitude: Float[Tensor, "b time n_stft"],
    n_iter: int,
    *,
    refine: Refine | None = None,
    watch: Watch | None = None,
) -> Float[Tensor, "b span"]:
    """The loop: n_iter sweeps from a first spectrum, the magnitude perhaps refined on the way.

    Args:
        refine: called before each sweep with its number; returns what to make of the present estimate's
            magnitudes for them to become the ones to go on with, or None to keep the old ones.
        watch: called after each sweep with its number and the spectral convergence in dB of every row;
            returns which rows go on. StopIteration ends all.
    """
    state = recurrence.start(sweep, spectrum)
    running = None
    for count in range(1, n_iter + 1):
        change = refine(count) if refine is not None else None
        if change is not None:
            magnitude = sweep.magnitude(state.estimate, change)
        following = recurrence.advance(sweep, state, magnitude)
        state = following if running is None else _frozen_where_finished(running, state, following)
        if watch is not None:
            try:
                running = watch(count, _convergence(sweep, state, magnitude))
            except StopIteration:
                break
            if not running.any():
                break
    return state.estimate


def _frozen_where_finished(running: Tensor, state: State, following: State) -> State:
    # Only the estimate is ever returned: the rest of a finished row may run on.
    return following._replace(estimate=torch.where(running[:, None], following.estimate, state.estimate))


def _convergence(sweep: Sweep, state: State, magnitude: Tensor) -> Float[Tensor, " b"]:
    error = torch.linalg.vector_norm(sweep.magnitude(state.estimate) - magnitude, dim=(-2, -1))
    return relative_error_db(error, torch.linalg.vector_norm(magnitude, dim=(-2, -1)))
