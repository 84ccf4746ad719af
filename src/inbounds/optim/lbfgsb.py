"""L-BFGS-B for many problems at once: `init` and `advance`, one evaluation a tick.

Follows: Byrd, Lu, Nocedal, Zhu, "A limited memory algorithm for bound constrained optimization", SIAM
J. Sci. Comput. 16 (1995), Algorithm of section 6, as code 3.0 (Morales and Nocedal, 2011) runs it.

Every row is wherever its own search has led it. `advance` hands each line search its new value; the rows
whose search has ended accept the point, look whether to stop, and start the next search:

    generalised Cauchy point (cauchy.py) -> subspace minimiser (subspace.py) -> direction -> first trial

A row whose search fails, whose direction does not descend, or whose matrix cannot be factored forgets
its memory and starts a search from the same point along P(x - g) - x, without an evaluation; if its
memory was empty already, it stops as ABNORMAL. Nothing here waits for the device: what a row does is
chosen with `where`.

In float64 the path is SciPy's, evaluation by evaluation, but for rounding and one thing: where the Cauchy
point leaves no variable free, the reference does not bring its matrix K up to date, and may go wrong or
lose its memory later; here K is formed anew from the pairs each time.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inbounds.optim import linesearch
from inbounds.optim.box import Box, project, projected_gradient_norm
from inbounds.optim.cauchy import cauchy_point
from inbounds.optim.history import compact, forget, remember
from inbounds.optim.state import Options, Search, State, Stop, first_state
from inbounds.optim.subspace import subspace_minimiser


def init(
    x: Float[Tensor, "b n"],
    f: Float[Tensor, " b"],
    g: Float[Tensor, "b n"],
    box: Box,
    options: Options,
) -> State:
    """The state of rows evaluated at x, a point of the box; `trial` is where to evaluate next."""
    return start(first_state(x, f, g, options), box, options)


def start(state: State, box: Box, options: Options) -> State:
    """The same for rows that bring a memory: the state is evaluated at its x, with no search under way."""
    finite = state.f.isfinite() & state.g.isfinite().all(dim=-1)
    pg = projected_gradient_norm(state.x, state.g, box)
    stop = torch.where(pg <= options.gtol, Stop.GRADIENT, Stop.RUNNING)
    state = state._replace(stop=torch.where(finite, stop, Stop.NONFINITE))
    return _search_on(state, state.stop == Stop.RUNNING, box, options)


def advance(
    state: State, f: Float[Tensor, " b"], g: Float[Tensor, "b n"], box: Box, options: Options
) -> State:
    """The state after f and g have been evaluated at `state.trial`.

    The state given is used up: its memory's rings are written in place.
    """
    running = state.stop == Stop.RUNNING
    slope = (g * state.direction).sum(dim=-1)
    search, accepted = linesearch.observe(state.search, state.f, f, slope)
    accepted = accepted & running
    failed = running & ~accepted & (search.evaluations >= options.maxls)

    state = state._replace(nfev=state.nfev + running)
    state = _accept(state, accepted, f, g, slope, box, options)
    state = state._replace(search=_chosen(running & ~accepted, search, state.search))
    barren = failed & (state.memory.held == 0)
    state = state._replace(
        stop=torch.where(barren, Stop.ABNORMAL, state.stop), memory=forget(state.memory, failed)
    )
    return _search_on(state, (accepted | failed) & (state.stop == Stop.RUNNING), box, options)


def _accept(
    state: State,
    accepted: Bool[Tensor, " b"],
    f: Float[Tensor, " b"],
    g: Float[Tensor, "b n"],
    slope: Float[Tensor, " b"],
    box: Box,
    options: Options,
) -> State:
    """Make the trial the current point of the accepted rows; the stop tests in the reference's order."""
    nit = state.nit + accepted
    decrease = state.f - f
    scale = state.f.abs().maximum(f.abs()).clamp(min=1)
    stop = torch.where(decrease <= options.ftol * scale, Stop.REDUCTION, Stop.RUNNING)
    pg = projected_gradient_norm(state.trial, g, box)
    stop = torch.where(pg <= options.gtol, Stop.GRADIENT, stop)
    stop = torch.where(state.nfev > options.maxfun, Stop.MAXFUN, stop)
    stop = torch.where(nit >= options.maxiter, Stop.MAXITER, stop)

    step = state.search.step
    memory = remember(
        state.memory,
        s=step[:, None] * state.direction,
        y=g - state.g,
        curvature=step * (slope - state.search.slope),
        slope=step * state.search.slope,
        accepted=accepted & (stop == Stop.RUNNING),
    )
    here = accepted[:, None]
    return state._replace(
        x=torch.where(here, state.trial, state.x),
        f=torch.where(accepted, f, state.f),
        g=torch.where(here, g, state.g),
        memory=memory,
        stop=torch.where(accepted, stop, state.stop),
        nit=nit,
    )


def _search_on(state: State, turning: Bool[Tensor, " b"], box: Box, options: Options) -> State:
    """Start a new line search where a row is turning, and set the trial of every running row."""
    if state.x.numel() == 0:
        return state
    # Looking at a tensor costs nothing on a CPU; elsewhere it would wait for the device.
    if state.x.device.type != "cpu" or turning.any():
        state = _turn(state, turning, box, options)
    running = (state.stop == Stop.RUNNING)[:, None]
    step = state.search.step[:, None]
    along = project(state.x + step * state.direction, box)
    trial = torch.where(step == 1, state.target, along)
    return state._replace(trial=torch.where(running, trial, state.trial))


def _turn(state: State, rows: Bool[Tensor, " b"], box: Box, options: Options) -> State:
    """Point the rows named along the model's minimiser, and begin their line search."""
    x, g = state.x, state.g
    target, sound = _model_minimiser(state, box)
    slope = (g * (target - x)).sum(dim=-1)
    lost = rows & (state.memory.held > 0) & ~(sound & (slope < 0) & slope.isfinite())
    state = state._replace(memory=forget(state.memory, lost))

    # Without a memory B = I, and the path's only minimum is at its end or at t = 1.
    empty = state.memory.held == 0
    target = torch.where(empty[:, None], project(x - g, box), target)
    direction = target - x
    slope = (g * direction).sum(dim=-1)
    hopeless = rows & ~((slope < 0) & slope.isfinite())
    rows = rows & ~hopeless

    search = linesearch.begin(*_first_step(state, direction, box, options), state.f, slope)
    return state._replace(
        target=torch.where(rows[:, None], target, state.target),
        direction=torch.where(rows[:, None], direction, state.direction),
        search=_chosen(rows, search, state.search),
        stop=torch.where(hopeless, Stop.ABNORMAL, state.stop),
    )


def _model_minimiser(state: State, box: Box) -> tuple[Float[Tensor, "b n"], Bool[Tensor, " b"]]:
    B = compact(state.memory)
    cauchy = cauchy_point(state.x, state.g, box, B)
    target, sound = subspace_minimiser(state.x, state.g, box, state.memory, B, cauchy)
    return target, sound & B.sound


def _first_step(
    state: State, direction: Float[Tensor, "b n"], box: Box, options: Options
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """The first trial step and the longest allowed one, by the reference's rules."""
    x = state.x
    room = torch.where(direction > 0, box.upper - x, box.lower - x)
    room = torch.where(direction == 0, torch.inf, room / direction)
    step_max = room.amin(dim=-1).clamp(max=linesearch.LONGEST)
    first = state.nit == 0
    step_max = torch.where(first & box.constrained, 1, step_max)
    # Only a first step of unknown scale is cut short; a box on every side gives the scale.
    norm = direction.square().sum(dim=-1).sqrt()
    step = torch.where(first & ~box.boxed, 1 / norm, 1)
    return (options.first_step * step.minimum(step_max)).minimum(step_max), step_max


def _chosen(rows: Bool[Tensor, " b"], new: Search, old: Search) -> Search:
    """The new parts for the rows named, the old ones for the others."""
    return Search(*(torch.where(rows, a, b) for a, b in zip(new, old, strict=True)))
