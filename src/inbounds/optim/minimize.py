"""`minimize`: one problem, or many side by side, with SciPy's names and torch's tensors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds import _checks
from inbounds.optim import bounds as _bounds
from inbounds.optim import engine, implicit
from inbounds.optim.batch import Batch
from inbounds.optim.box import Box, project
from inbounds.optim.evaluate import Objective
from inbounds.optim.result import OptimizeResult
from inbounds.optim.state import Options, State, Stop, first_state

Callback = Callable[[OptimizeResult], Any]


def minimize(
    fun: Callable[..., Any],
    x0: Float[Tensor, "*batch n"],
    bounds: Any = None,
    args: Any = (),
    batch_args: Any = (),
    jac: Callable[..., Any] | bool | None = None,
    *,
    maxcor: int = 10,
    ftol: float | None = None,
    gtol: float = 1e-5,
    maxiter: int = 15000,
    maxfun: int = 15000,
    maxls: int = 20,
    callback: Callback | None = None,
    differentiable: bool = False,
) -> OptimizeResult:
    """Minimise a function of n variables within bounds by L-BFGS-B; many problems at once, each on its own.

    In float64 a problem takes the path SciPy's L-BFGS-B takes. A problem of a batch takes the path it takes
    alone: its line search, its memory and its stop are its own. Not converging is a status, not an error.

    Args:
        fun: called as fun(x, *args, *batch_args). For x0 (n,) it sees x (n,) and returns a scalar. For x0
            (*batch, n) it sees x0's shape and returns (*batch): the value of each row, which must depend on
            that row only. With `batch_args` it sees x (rows, n) and every batch_arg (rows, ...), leading
            dimensions flattened, with only the rows still being worked on, and returns (rows,).
        x0: the start, float32 or float64, on any device; moved into the box first.
        bounds: None; (lower, upper), each None, a number or a tensor that broadcasts to x0; or an object with
            such `lb` and `ub`. Infinite means no bound; equal bounds fix a variable.
        args: passed on unchanged.
        batch_args: tensors whose leading dimensions are the batch's.
        jac: None: the gradient is autograd's, in inference mode too. True: fun returns (value, gradient). A
            function: called as fun is, returns the gradient, of x's shape.
        maxcor: correction pairs kept, >= 1.
        ftol: stop when (f_old - f) <= ftol max(|f_old|, |f|, 1), >= 0; by default 2.22e-9 in float64, ten
            times the machine epsilon in float32.
        gtol: stop when the projected gradient's largest entry is <= gtol, >= 0.
        maxiter, maxfun: limits of iterations and evaluations, per problem, looked at between iterations.
        maxls: evaluations in one line search, >= 1.
        callback: called as callback(result) with the best points so far: after each iteration of one
            problem, or whenever some row of a batch has accepted a point. StopIteration ends the run.
        differentiable: let gradients flow from the answer's x to the tensors in args and batch_args, and to
            the bounds, by the implicit function theorem (`inbounds.optim.implicit`).

    Returns:
        An `OptimizeResult`, its fields shaped like the batch.

    Raises:
        TypeError, ValueError: an argument, or what fun returned, is not as described.

    Source: Byrd, Lu, Nocedal, Zhu (1995), SIAM J. Sci. Comput. 16; Morales, Nocedal (2011), ACM TOMS 38.

    >>> import inbounds
    >>> def fun(x):
    ...     return ((x - 3) ** 2).sum(-1)
    >>> inbounds.minimize(fun, torch.zeros(2), bounds=(0.0, torch.tensor([1.0, 5.0]))).x
    tensor([1., 3.])
    >>> result = inbounds.minimize(fun, torch.zeros(4, 2), bounds=(0.0, torch.arange(4.0)[:, None]))
    >>> result.x[:, 0], result.success
    (tensor([0., 1., 2., 3.]), tensor([True, True, True, True]))
    """
    x0 = _checked_start(x0)
    batch, n = x0.shape[:-1], x0.shape[-1]
    lower, upper = _bounds.parse(bounds, x0)
    options = _checked_options(x0.dtype, maxcor, ftol, gtol, maxiter, maxfun, maxls)
    fun, jac = _checked_callable(fun, "fun"), _checked_jac(jac)
    args = tuple(args) if isinstance(args, tuple | list) else (args,)
    per_row = _checked_batch_args(batch_args, batch)
    flat = (math.prod(batch), n)
    seen = flat if batch and per_row else x0.shape  # by fun, while every row is running
    if callback is not None:
        _checked_callable(callback, "callback")

    box = Box.of(lower.detach().reshape(flat), upper.detach().reshape(flat))
    x = project(x0.reshape(flat), box).contiguous()
    if not flat[0]:
        return _result(first_state(x, x.new_zeros(0), x, options), x0.shape)
    objective = Objective(fun, jac, args, None if batch and per_row else x0.shape)
    run = Batch(objective, per_row, x, box, options, engine.of(x))
    result = _result(_finish(run, callback, x0.shape), x0.shape)
    if not differentiable:
        return result
    sides = lower.reshape(seen), upper.reshape(seen)
    answer = implicit.solution(result.x.view(seen), fun, sides, (*args, *per_row), jac)
    return replace(result, x=answer.view(x0.shape))


def _finish(run: Batch, callback: Callback | None, shape: Sequence[int]) -> State:
    """Tick until every row has stopped."""
    between_looks = ticks_between_looks(run.state.x.device) if callback is None else 1
    ticks = 0
    while ticks % between_looks or run.look():
        if callback is None:
            run.tick()
        elif not _tick_and_tell(run, callback, shape):
            break
        ticks += 1
    return run.answer()


def ticks_between_looks(device: torch.device) -> int:
    """How often to ask which rows have stopped: seldom where the question makes the host wait."""
    return 1 if device.type == "cpu" else 8


def _tick_and_tell(run: Batch, callback: Callback, shape: Sequence[int]) -> bool:
    """Tick, and call back if some row has accepted a point; False if the callback wants no more."""
    running, before = run.state.stop == Stop.RUNNING, run.state.nit.clone()
    run.tick()
    if not bool((run.state.nit > before).any()):
        return True
    try:
        callback(_result(run.answer(), shape, intermediate=True))
    except StopIteration:
        # As in SciPy, the callback has the last word on a row whose last point it was shown.
        stop = torch.where(running, Stop.HALTED, run.state.stop)
        run.state = run.state._replace(stop=stop)
        return False
    return True


def _result(state: State, shape: Sequence[int], *, intermediate: bool = False) -> OptimizeResult:
    batch = shape[:-1]
    fields: dict[str, Any] = {
        "x": state.x.view(shape),
        "fun": state.f.view(batch),
        "jac": state.g.view(shape),
        "nit": state.nit.view(batch),
        "nfev": state.nfev.view(batch),
        "stop": state.stop.view(batch),
    }
    if intermediate:  # the run goes on, and what the callback keeps must not change under it
        return OptimizeResult(**{name: field.clone() for name, field in fields.items()})
    return OptimizeResult(**fields, memory=state.memory)


def _checked_start(x0: Any) -> Tensor:
    x0 = _checks.floating(x0, "x0", rank=1).detach()
    if x0.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x0 must be float32 or float64; got {_checks.describe(x0)}")
    return x0


def _checked_options(
    dtype: torch.dtype, maxcor: Any, ftol: Any, gtol: Any, maxiter: Any, maxfun: Any, maxls: Any
) -> Options:
    if ftol is None:
        ftol = 2.2204460492503131e-09 if dtype == torch.float64 else 10 * torch.finfo(dtype).eps
    return Options(
        maxcor=_checks.integer(maxcor, "maxcor", least=1),
        ftol=_checks.number(ftol, "ftol", least=0),
        gtol=_checks.number(gtol, "gtol", least=0),
        maxiter=_checks.integer(maxiter, "maxiter", least=0),
        maxfun=_checks.integer(maxfun, "maxfun", least=0),
        maxls=_checks.integer(maxls, "maxls", least=1),
    )


def _checked_callable(value: Any, name: str) -> Callable[..., Any]:
    if not callable(value):
        raise TypeError(f"{name} must be callable; got {_checks.describe(value)}")
    return value


def _checked_jac(jac: Any) -> Callable[..., Any] | bool | None:
    if jac is None or jac is False:
        return None
    if jac is not True and not callable(jac):
        raise TypeError(
            f"jac must be None (autograd), True (fun returns value and gradient) or a function; "
            f"got {_checks.describe(jac)}"
        )
    return jac


def _checked_batch_args(batch_args: Any, batch: Sequence[int]) -> list[Tensor]:
    """Every batch_arg with the batch's dimensions flattened into one, or as it is where there are none."""
    given = batch_args if isinstance(batch_args, tuple | list) else (batch_args,)
    flat: list[Tensor] = []
    for i, value in enumerate(given):
        arg = _checks.tensor(value, f"batch_args[{i}]")
        if arg.shape[: len(batch)] != batch:
            raise ValueError(
                f"batch_args[{i}] must have the batch's leading dimensions, {tuple(batch)}; "
                f"got {_checks.describe(arg)}"
            )
        flat.append(arg.flatten(0, len(batch) - 1) if batch else arg)
    return flat
