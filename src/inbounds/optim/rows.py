"""The row engine: compiled kernels that advance one row at a time, over a pool of threads. CPU, small n.

It does what the tensor engine does, in the same State. For speed it works in place: the State given to
`advance` is used up, and the one returned owns its tensors.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds._parallel import for_each_block
from inbounds.optim.box import Box
from inbounds.optim.state import Options, State, first_state

WORK = 1024  # variables in a block of rows, so that a block is worth handing to a thread


class _Views(NamedTuple):
    """What the kernels are given, in NumPy's terms, and the box and options it was made from."""

    box: Box
    options: Options
    arguments: tuple[Any, Any, Options, float]  # state and box as arrays; the dtype's unit roundoff


class _RowState(State):
    """A State that keeps the NumPy views of its own tensors from one call to the next."""

    views: _Views

    @classmethod
    def of(cls, state: State, box: Box, options: Options) -> "_RowState":
        numbers = Options(  # compiled once, whatever kind of numbers came
            maxcor=int(options.maxcor),
            ftol=float(options.ftol),
            gtol=float(options.gtol),
            maxiter=int(options.maxiter),
            maxfun=int(options.maxfun),
            maxls=int(options.maxls),
            first_step=float(options.first_step),
        )
        viewed, eps = cls(*state), torch.finfo(state.x.dtype).eps
        viewed.views = _Views(box, options, (_arrays(State(*state)), _arrays(box), numbers, eps))
        return viewed


def init(
    x: Float[Tensor, "b n"], f: Float[Tensor, " b"], g: Float[Tensor, "b n"], box: Box, options: Options
) -> State:
    """The state of rows evaluated at x, a point of the box; `trial` is where to evaluate next."""
    return start(first_state(x, f, g, options), box, options)


def start(state: State, box: Box, options: Options) -> State:
    """The same for rows that bring a memory: the state is evaluated at its x, with no search under way."""
    return _run(_RowState.of(state, box, options), state.f, state.g, first=True)


def advance(
    state: State, f: Float[Tensor, " b"], g: Float[Tensor, "b n"], box: Box, options: Options
) -> State:
    """The state after f and g have been evaluated at `state.trial`. The state given is used up."""
    views = state.views if isinstance(state, _RowState) else None
    if views is None or views.box is not box or views.options is not options:
        state = _RowState.of(state, box, options)
    return _run(state, f, g, first=False)


def _run(state: Any, f: Tensor, g: Tensor, *, first: bool) -> State:
    from inbounds.optim.kernels.advance import advance_rows

    rows, n = state.x.shape
    values, gradients = f.contiguous().numpy(), g.contiguous().numpy()
    arguments = state.views.arguments

    def work(start: int, stop: int) -> None:
        advance_rows(start, stop, values, gradients, *arguments, first)

    for_each_block(work, rows, max(1, WORK // max(1, n)))
    return state


def _arrays(part: Any) -> Any:
    """A tensor's array, or a named tuple of tensors as one of arrays."""
    return part.numpy() if isinstance(part, Tensor) else type(part)(*map(_arrays, part))
