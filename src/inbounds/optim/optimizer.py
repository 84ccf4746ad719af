"""`LBFGSB`: the same core as a torch.optim.Optimizer, with torch.optim.LBFGS's arguments and habits."""

from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inbounds import _checks
from inbounds.optim import bounds as _bounds
from inbounds.optim import engine
from inbounds.optim.box import Box, project
from inbounds.optim.state import Memory, Options, State, Stop, first_state

LINE_SEARCH_EVALUATIONS = 20  # most evaluations of one line search
UNLIMITED = 2**62  # the limits are this driver's: it stops with the memory up to date
SHARED = (
    "lr",
    "max_iter",
    "max_eval",
    "tolerance_grad",
    "tolerance_change",
    "history_size",
    "line_search_fn",
    "maximize",
)


class LBFGSB(torch.optim.Optimizer):
    """L-BFGS-B: L-BFGS within bounds, for real parameters of any shapes on one device.

    All parameters together are one problem. It is stated by the closure, which is evaluated several times a
    step; a step takes up to `max_iter` iterations and remembers what it learnt for the next. Bounds belong
    to a parameter group; everything else is common to all groups. Parameters are always inside their
    bounds: a start outside is moved in before the closure is first called, and whatever a closure raises,
    the parameters are left at the best point found, and the next step goes on from there. A loss that is
    not finite at the start of a step leaves them where they were.

    Args:
        params: parameters, or dicts of groups with their own `lower` and `upper`.
        lr: scales the first trial of each line search, >= 0 (0 moves nothing).
        max_iter: iterations a step, >= 1.
        max_eval: evaluations a step, by default 1.25 max_iter; the last line search may pass it.
        tolerance_grad: stop when the largest entry of the projected gradient is <= this.
        tolerance_change: stop when an iteration changes the loss, or every parameter, by less than this.
        history_size: correction pairs kept, >= 1.
        line_search_fn: None or "strong_wolfe"; both mean the Moré–Thuente search, which L-BFGS-B needs.
        lower, upper: None, a number, or a tensor that broadcasts to each parameter of the group.
        maximize: maximise instead.

    Half-precision parameters are optimised in float32 and rounded when the closure is called. The state
    dict resumes exactly.

    >>> w = torch.nn.Parameter(torch.zeros(3))
    >>> optimizer = LBFGSB([w], lower=0.0, upper=1.0)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - torch.tensor([-1.0, 0.5, 2.0])) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()
    5.25
    >>> w.data
    tensor([0.0000, 0.5000, 1.0000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 10,
        line_search_fn: str | None = None,
        *,
        lower: float | Tensor | None = None,
        upper: float | Tensor | None = None,
        maximize: bool = False,
    ) -> None:
        if max_eval is None:
            max_eval = _checks.integer(max_iter, "max_iter", least=1) * 5 // 4
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
            "maximize": maximize,
            "lower": lower,
            "upper": upper,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with bounds of their own; what was learnt about the others is forgotten."""
        super().add_param_group(param_group)
        try:
            for parameter in self.param_groups[-1]["params"]:
                self._check_parameter(parameter)
            self._box()
            self._options()
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    def step(self, closure: Callable[[], Any]) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take up to max_iter iterations; return the loss the closure returned first.

        Args:
            closure: clears the gradients, computes the loss, calls backward and returns the loss. It is
                called with gradients enabled and outside inference mode.
        """
        if not callable(closure):
            raise TypeError(
                f"closure must be a function that returns the loss; got {_checks.describe(closure)}"
            )
        with torch.inference_mode(False), torch.no_grad():
            return self._step(closure)

    def _step(self, closure: Callable[[], Any]) -> Any:
        options, box, group = self._options(), self._box(), self.param_groups[0]
        x = project(self._read(), box)
        self._write(x)
        first_loss, f, g = self._evaluate(closure, x)
        if options.first_step == 0:
            return first_loss
        state = self._recalled(first_state(x, f, g, options))
        last_nit, last_nfev = int(state.nit) + group["max_iter"], int(state.nfev) + group["max_eval"] - 1
        tools = engine.of(x)
        state = tools.start(state, box, options)
        try:
            while int(state.stop) == Stop.RUNNING and int(state.nit) < last_nit:
                self._write(state.trial)
                _, f, g = self._evaluate(closure, x)
                before = int(state.nit), state.x.clone(), float(state.f)
                state = tools.advance(state, f, g, box, options)
                if int(state.nit) > before[0] and (
                    int(state.nfev) >= last_nfev or self._has_settled(state, *before[1:])
                ):
                    break
        finally:  # whatever the closure raised
            self._write(state.x)
            self._remember(state)
        return first_loss

    def _has_settled(self, state: State, x: Tensor, f: float) -> bool:
        tolerance = self.param_groups[0]["tolerance_change"]
        return abs(float(state.f) - f) < tolerance or float((state.x - x).abs().max()) <= tolerance

    # The parameters as one row

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _dtype(self) -> torch.dtype:
        dtype = torch.float32
        for parameter in self._parameters():
            dtype = torch.promote_types(dtype, parameter.dtype)
        return dtype

    def _row(self, parts: Iterable[Tensor]) -> Float[Tensor, "1 n"]:
        dtype = self._dtype()
        return torch.cat([part.reshape(-1).to(dtype) for part in parts])[None]

    def _read(self) -> Float[Tensor, "1 n"]:
        return self._row(parameter.detach() for parameter in self._parameters())

    def _write(self, x: Float[Tensor, "1 n"]) -> None:
        parameters = self._parameters()
        pieces = x[0].split([parameter.numel() for parameter in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.copy_(piece.view_as(parameter))

    def _evaluate(
        self, closure: Callable[[], Any], x: Float[Tensor, "1 n"]
    ) -> tuple[Any, Float[Tensor, " 1"], Float[Tensor, "1 n"]]:
        """What the closure returned, and loss and gradient of the problem being minimised."""
        with torch.enable_grad():
            loss = closure()
        if not isinstance(loss, Tensor | Real):
            raise TypeError(f"closure must return the loss; got {_checks.describe(loss)}")
        f = torch.as_tensor(loss, dtype=x.dtype, device=x.device).detach()
        if f.numel() != 1:
            raise ValueError(f"closure must return one loss; got {_checks.describe(loss)}")
        g = self._row(_gradient(parameter) for parameter in self._parameters())
        f = f.reshape(1).clone()
        return (loss, -f, -g) if self.param_groups[0]["maximize"] else (loss, f, g)

    # What belongs to the groups

    def _box(self) -> Box:
        sides = [
            _bounds.parse((group["lower"], group["upper"]), parameter, "the parameter")
            for group in self.param_groups
            for parameter in group["params"]
        ]
        return Box.of(self._row(lower for lower, _ in sides), self._row(upper for _, upper in sides))

    def _options(self) -> Options:
        first = self.param_groups[0]
        for group in self.param_groups[1:]:
            for name in SHARED:
                if group[name] != first[name]:
                    raise ValueError(
                        f"{name} must be the same in every group, only bounds may differ; "
                        f"got {first[name]} and {group[name]}"
                    )
        _checks.integer(first["max_iter"], "max_iter", least=1)
        _checks.integer(first["max_eval"], "max_eval", least=1)
        _checks.number(first["tolerance_change"], "tolerance_change", least=0)
        _checks.choice(first["line_search_fn"], "line_search_fn", (None, "strong_wolfe"))
        lr = first["lr"]
        if isinstance(lr, Tensor) and lr.numel() == 1:
            lr = lr.item()
        return Options(
            maxcor=_checks.integer(first["history_size"], "history_size", least=1),
            ftol=0.0,
            gtol=_checks.number(first["tolerance_grad"], "tolerance_grad", least=0),
            maxiter=UNLIMITED,
            maxfun=UNLIMITED,
            maxls=LINE_SEARCH_EVALUATIONS,
            first_step=_checks.number(lr, "lr", least=0),
        )

    def _check_parameter(self, parameter: Tensor) -> None:
        _checks.floating(parameter, "params")
        _checks.same_device(parameter, "params", self._parameters()[0], "the first one")
        if parameter.is_inference():
            raise ValueError("params must be made outside torch.inference_mode(); got an inference tensor")

    # What is remembered from step to step, under the first parameter as in torch.optim.LBFGS

    def _recalled(self, state: State) -> State:
        """The state with the counts and the pairs of the steps before."""
        past = self.state[self._parameters()[0]]
        past.setdefault("n_iter", 0)
        past.setdefault("func_evals", 0)
        state = state._replace(nit=state.nit + past["n_iter"], nfev=state.nfev + past["func_evals"])
        memory = past.get("memory")
        # Other parameters or another history_size since: what was learnt has another shape.
        if memory is None or memory["S"].shape != state.memory.S.shape:
            return state
        # Copies, because an engine may write in place and a state dict taken earlier must not change.
        return state._replace(memory=Memory(**{name: part.clone() for name, part in memory.items()}))

    def _remember(self, state: State) -> None:
        past = self.state[self._parameters()[0]]
        past["n_iter"], past["func_evals"] = int(state.nit), int(state.nfev)
        past["memory"] = state.memory._asdict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on exactly where the optimizer was that gave this state dict."""
        super().load_state_dict(state_dict)
        first = self._parameters()[0]
        saved = state_dict["state"].get(state_dict["param_groups"][0]["params"][0], {})
        if "memory" in saved:
            # torch has cast every tensor to its parameter's dtype, counts and half-precision memories too.
            self.state[first]["memory"] = {k: v.to(first.device) for k, v in saved["memory"].items()}


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    return parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
