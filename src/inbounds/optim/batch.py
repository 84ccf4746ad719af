"""The rows of a batch that are still being worked on, and the answers of those that are done."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from inbounds.optim.box import Box
from inbounds.optim.engine import Engine
from inbounds.optim.evaluate import Objective
from inbounds.optim.state import Memory, Options, Search, State, Stop, take

Rows = Int[Tensor, " r"]


class Batch:
    """A run of b problems from their first evaluation to their last, one `tick` at a time.

    `state` holds the rows at work. Once half of them have stopped, the others move together into a smaller
    state, and the answers of all rows are gathered in another, `_whole`. Where the objective has
    `batch_args`, it only ever sees the rows that are running.
    """

    def __init__(
        self,
        objective: Objective,
        batch_args: Sequence[Tensor],
        x: Float[Tensor, "b n"],
        box: Box,
        options: Options,
        engine: Engine,
    ) -> None:
        self._objective, self._engine, self._options = objective, engine, options
        self._all_args = self._args = batch_args
        self._box = box
        self._whole: State | None = None
        self._rows: Rows | None = None  # where the state's rows stand in the batch; None: all, in order
        self._live: Rows | None = None  # which of the state's rows are evaluated; None: all
        self._running = x.shape[0]
        self._points = x  # the whole batch, for an objective that always sees it; rows that stopped stay put
        f, g = objective(x, batch_args)
        self.state = engine.init(x, f, g, box, options)

    def tick(self) -> None:
        """One evaluation of every running row, and what follows from it."""
        f, g = self._evaluate(self.state.trial)
        self.state = self._engine.advance(self.state, f, g, self._box, self._options)

    def look(self) -> bool:
        """Whether any row is running; the others are evaluated no more. Waits for the device."""
        if self.state.stop.shape[0] == 1:
            return self.state.stop.item() == Stop.RUNNING
        running = self.state.stop == Stop.RUNNING
        count = int(running.sum())
        if count < self._running:
            self._running = count
            if count and 2 * count <= running.shape[0]:
                self._narrow(running)
            elif count and self._all_args:
                self._live = running.nonzero()[:, 0]
                self._pick_args(self._live)
        return count > 0

    def answer(self) -> State:
        """Every row, in the batch's order."""
        if self._rows is None or self._whole is None:
            return self.state
        return put(self._whole, self._rows, self.state)

    def _evaluate(self, trial: Float[Tensor, "r n"]) -> tuple[Float[Tensor, " r"], Float[Tensor, "r n"]]:
        if self._live is not None:
            f, g = self._objective(trial.index_select(0, self._live), self._args)
            # A row that has stopped ignores its value.
            return (
                f.new_zeros(trial.shape[0]).index_copy_(0, self._live, f),
                torch.zeros_like(trial).index_copy_(0, self._live, g),
            )
        if self._rows is None or self._all_args:
            return self._objective(trial, self._args)
        self._points.index_copy_(0, self._rows, trial)
        f, g = self._objective(self._points)
        return f.index_select(0, self._rows), g.index_select(0, self._rows)

    def _narrow(self, running: Bool[Tensor, " r"]) -> None:
        """Go on with the running rows only."""
        self._whole = self.answer()
        kept = running.nonzero()[:, 0]
        if self._rows is None:
            self._points = self.state.trial.clone()
        self._rows = kept if self._rows is None else self._rows.index_select(0, kept)
        self.state = take(self.state, kept)
        self._box = Box(*(part.index_select(0, kept) for part in self._box))
        self._live = None
        self._pick_args(None)

    def _pick_args(self, live: Rows | None) -> None:
        """The batch_args of the rows that are evaluated."""
        rows = self._rows
        if live is not None:
            rows = live if rows is None else rows.index_select(0, live)
        if rows is not None:
            self._args = [arg.index_select(0, rows.to(arg.device)) for arg in self._all_args]


def put(whole: State, rows: Rows, part: State) -> State:
    """The state `whole` with some of its rows replaced."""

    def place(old: Tensor | Memory | Search, new: Tensor | Memory | Search) -> Tensor | Memory | Search:
        if isinstance(old, Tensor):
            return old.index_copy(0, rows, new)  # pyright: ignore[reportArgumentType]
        return type(old)(*map(place, old, new))  # pyright: ignore[reportArgumentType]

    return State(*map(place, whole, part))  # pyright: ignore[reportArgumentType]
