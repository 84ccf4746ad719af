"""Which engine advances a State: two modules with the same `init`, `start` and `advance`."""

from typing import Protocol

from torch import Tensor

from inbounds.optim import lbfgsb, rows
from inbounds.optim.box import Box
from inbounds.optim.state import Options, State


class Engine(Protocol):
    """What the drivers need of `lbfgsb` and of `rows`."""

    def init(self, x: Tensor, f: Tensor, g: Tensor, box: Box, options: Options) -> State:
        """The state of rows evaluated at x; its `trial` is where to evaluate next."""
        ...

    def start(self, state: State, box: Box, options: Options) -> State:
        """The same for a state that is evaluated at its x and brings a memory."""
        ...

    def advance(self, state: State, f: Tensor, g: Tensor, box: Box, options: Options) -> State:
        """The state after f and g have been evaluated at `state.trial`; the one given is used up."""
        ...


def of(x: Tensor) -> Engine:
    """The engine for problems like x: compiled rows on a CPU, tensor operations on any other device."""
    return rows if x.device.type == "cpu" else lbfgsb
