"""What L-BFGS-B knows between two evaluations: one State, shared by every driver and engine.

    x0 -> f, g -> state = init(x0, f, g, box, options)
       +-> f, g = the user's function at state.trial
       |   state = advance(state, f, g, box, options)     one evaluation moves every row one step
       +-- while any row's state.stop is RUNNING

Each of the b rows is a problem of its own. `trial` is where the row wants its next evaluation: always a
point of its current line search, and always inside the box. A row that has stopped keeps its `trial`
and ignores what is evaluated there. `x, f, g` are the last accepted point: what the row would answer now.

Two engines advance a State: tensor operations (`lbfgsb.py` and the files it names: any device, any n) and
compiled rows (`rows.py` and `kernels/`: CPU). Both read and write exactly this, so a State from one can be
advanced by the other.
"""

from enum import IntEnum
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Stop(IntEnum):
    """Why a row stopped; `result.py` has the sentence and SciPy's status code of each."""

    RUNNING = 0
    GRADIENT = 1  # projected gradient <= gtol
    REDUCTION = 2  # relative reduction of f <= ftol
    MAXITER = 3
    MAXFUN = 4
    ABNORMAL = 5  # the line search failed with an empty memory
    NONFINITE = 6  # f or its gradient is not finite at x0
    HALTED = 7  # a callback raised StopIteration


class Options(NamedTuple):
    """The numbers that steer a run; SciPy's names and meanings."""

    maxcor: int  # m: pairs kept
    ftol: float  # stop when (f_old - f) <= ftol * max(|f_old|, |f|, 1)
    gtol: float  # stop when the projected gradient's largest entry is <= gtol
    maxiter: int
    maxfun: int  # looked at between iterations, so a line search may pass it
    maxls: int  # evaluations in one line search
    first_step: float = 1.0  # scales the first trial of every line search (torch.optim's lr)


class Memory(NamedTuple):
    """The last correction pairs s = x⁺ - x, y = g⁺ - g: the compact matrix B = θI - W M Wᵀ, W = [Y θS].

    S and Y are rings: the j-th oldest pair (j = 0 … held-1) stands in slot (head + j) mod m; other slots
    are zero, or hold pairs that have been dropped. SY and SS are small and kept in chronological order,
    because M needs the strictly lower triangle of SᵀY by age: in a ring's slot order it is no longer the
    BFGS matrix.
    """

    S: Float[Tensor, "b m n"]  # by slot
    Y: Float[Tensor, "b m n"]  # by slot
    SY: Float[Tensor, "b m m"]  # [i, j] = sᵢᵀyⱼ, oldest first, zero from `held` on
    SS: Float[Tensor, "b m m"]  # [i, j] = sᵢᵀsⱼ, oldest first, zero from `held` on
    head: Int[Tensor, " b"]  # int64: slot of the oldest pair
    held: Int[Tensor, " b"]  # int64: number of pairs, 0 … m
    theta: Float[Tensor, " b"]  # θ: 1 at first, then yᵀy / sᵀy


class Search(NamedTuple):
    """A Moré–Thuente line search under way, φ(α) = f(x + α d); names follow the 1994 paper's roles."""

    step: Float[Tensor, " b"]  # α of `State.trial`
    step_max: Float[Tensor, " b"]  # the box ends here
    slope: Float[Tensor, " b"]  # φ'(0) < 0;  φ(0) is State.f
    bracketed: Bool[Tensor, " b"]
    stage: Int[Tensor, " b"]  # int64: 1 until a step has sufficient decrease and a non-negative slope, then 2
    best_step: Float[Tensor, " b"]  # the end of the interval with the least value so far
    best_f: Float[Tensor, " b"]
    best_slope: Float[Tensor, " b"]
    other_step: Float[Tensor, " b"]  # its other end
    other_f: Float[Tensor, " b"]
    other_slope: Float[Tensor, " b"]
    low: Float[Tensor, " b"]  # the next step lies in [low, high]
    high: Float[Tensor, " b"]
    width: Float[Tensor, " b"]  # of the interval, and twice that of the one before last:
    width_before: Float[Tensor, " b"]  # when it has not shrunk by 1/3 in two steps, bisect
    evaluations: Int[Tensor, " b"]  # int64: in this search


class State(NamedTuple):
    """Everything; see the module's docstring."""

    trial: Float[Tensor, "b n"]
    x: Float[Tensor, "b n"]
    f: Float[Tensor, " b"]
    g: Float[Tensor, "b n"]
    target: Float[Tensor, "b n"]  # the subspace minimiser: the trial of step 1, to the bit
    direction: Float[Tensor, "b n"]  # d = target - x
    search: Search
    memory: Memory
    stop: Int[Tensor, " b"]  # int64: a Stop
    nit: Int[Tensor, " b"]  # int64: points accepted
    nfev: Int[Tensor, " b"]  # int64: evaluations used, the one at x0 included


def empty_memory(x: Float[Tensor, "b n"], pairs: int) -> Memory:
    """No pairs: B = I."""
    rows, n = x.shape
    whole = torch.zeros(rows, dtype=torch.int64, device=x.device)
    return Memory(
        S=x.new_zeros(rows, pairs, n),
        Y=x.new_zeros(rows, pairs, n),
        SY=x.new_zeros(rows, pairs, pairs),
        SS=x.new_zeros(rows, pairs, pairs),
        head=whole,
        held=whole.clone(),
        theta=x.new_ones(rows),
    )


def idle_search(x: Float[Tensor, "b n"]) -> Search:
    """A search that has not begun."""
    rows = x.shape[0]
    zeros = {name: x.new_zeros(rows) for name in Search._fields}
    zeros["bracketed"] = torch.zeros(rows, dtype=torch.bool, device=x.device)
    zeros["stage"] = torch.ones(rows, dtype=torch.int64, device=x.device)
    zeros["evaluations"] = torch.zeros(rows, dtype=torch.int64, device=x.device)
    return Search(**zeros)


def first_state(
    x: Float[Tensor, "b n"], f: Float[Tensor, " b"], g: Float[Tensor, "b n"], options: Options
) -> State:
    """The state of rows that have been evaluated at x0 and nothing else: no memory, no direction yet."""
    whole = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
    return State(
        trial=x.clone(),
        x=x.clone(),
        f=f.clone(),
        g=g.clone(),
        target=x.clone(),
        direction=torch.zeros_like(x),
        search=idle_search(x),
        memory=empty_memory(x, options.maxcor),
        stop=whole,
        nit=whole.clone(),
        nfev=whole + 1,
    )


def take(state: State, rows: Int[Tensor, " r"]) -> State:
    """The state of some of the rows, in the order given."""

    def pick(part: Tensor | Memory | Search) -> Tensor | Memory | Search:
        if isinstance(part, Tensor):
            return part.index_select(0, rows)
        return type(part)(*(pick(field) for field in part))  # pyright: ignore[reportArgumentType]

    return State(*(pick(part) for part in state))  # pyright: ignore[reportArgumentType]
