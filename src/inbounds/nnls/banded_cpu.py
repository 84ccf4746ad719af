"""The compiled kernel's driver: blocks of frames over threads, and a second attempt for those left."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from inbounds._parallel import for_each_block
from inbounds.nnls.bands import Bands
from inbounds.nnls.frames import Choice, second_attempt
from inbounds.nnls.newton import GOALS, RECENTRE, Found
from inbounds.nnls.prior import FLOOR, LIFT, reach

# Frames a call: enough to hide its cost, few enough to spread over threads and to keep memory small.
_BLOCK = 1024


class Answer(NamedTuple):
    """Where the answers of columns b (batch, m, k) go, all contiguous."""

    x: Float[Tensor, "batch n k"]
    dual: Float[Tensor, "batch m kept"]  # kept is k or 0
    nit: Int[Tensor, "batch k"]
    converged: Tensor  # (batch, k) bool


def solve_cpu(
    bands: Bands, b: Float[Tensor, "batch m k"], prior: Tensor | None, choice: Choice, answer: Answer
) -> None:
    """Fill `answer`, by the kernel, in the dtype of `bands`. Frames are counted through the whole batch."""
    from inbounds.nnls.kernels import tile as kinds

    working = bands.matrix.dtype
    bank = _bank(bands)
    kind = {"flat": kinds.FLAT, "envelope": kinds.ENVELOPE}.get(choice.prior, kinds.GIVEN)
    if kind == kinds.GIVEN and choice.positive:
        kind = kinds.LIFTED
    how = _how(choice, working, kind)
    k, n = b.shape[2], answer.x.shape[1]
    direct = answer.x.dtype == working
    keep_dual = answer.dual.shape[-1] > 0
    nits, converged = answer.nit.view(-1), answer.converged.view(-1)

    def work(start: int, stop: int) -> None:
        frame = np.arange(start, stop)
        given = None if prior is None else _lanes(_read(prior, start, stop), working)
        if direct:
            out, stride, place = answer.x.view(-1), k, frame // k * (n * k) + frame % k
        else:
            out, stride, place = torch.empty(n * (stop - start), dtype=working), stop - start, frame - start
        block = _lanes(_read(b, start, stop), working)
        dual, nit, state = _solve(bank, how, block, given, None, out, stride, place, keep_dual)
        nits[start:stop], converged[start:stop] = nit, state > 0
        if not direct:
            _write(answer.x, torch.from_numpy(frame), out.view(n, -1).mT)
        if keep_dual:
            _write(answer.dual, torch.from_numpy(frame), dual)
        left = start + torch.nonzero(state == 0).flatten()
        if left.numel():
            part = None if prior is None else prior[left // k, :, left % k].to(working)
            found = second_attempt(bands, b[left // k, :, left % k].to(working), part, choice, _newton)
            _write(answer.x, left, found.x)
            nits[left] += found.nit
            converged[left] = found.converged
            if keep_dual:
                _write(answer.dual, left, found.dual)

    for_each_block(work, b.shape[0] * k, _BLOCK)


def _read(value: Float[Tensor, "batch rows k"], start: int, stop: int) -> Float[Tensor, "rows columns"]:
    """Frames start … stop as columns, a view where they lie in one item."""
    k = value.shape[2]
    item, first = divmod(start, k)
    if first + stop - start <= k:
        return value[item, :, first : first + stop - start]
    frame = torch.arange(start, stop)
    return value[frame // k, :, frame % k].mT


def _write(
    value: Float[Tensor, "batch rows k"], frame: Int[Tensor, " f"], rows: Float[Tensor, "f rows"]
) -> None:
    k = value.shape[2]
    value[frame // k, :, frame % k] = rows.to(value.dtype)


def _newton(
    bands: Bands,
    b: Float[Tensor, "b m"],
    prior: Float[Tensor, "b n"],
    weight: Float[Tensor, "b n"],
    choice: Choice,
    ridge: Float[Tensor, "b 1"],
) -> Found:
    """`newton.newton` by the kernel."""
    from inbounds.nnls.kernels import tile as kinds

    frames, n = prior.shape
    x = torch.empty(n, frames, dtype=b.dtype)
    how = _how(choice, b.dtype, kinds.PREPARED)
    dual, nit, state = _solve(
        _bank(bands), how, _lanes(b.mT, b.dtype), _lanes(prior.mT, b.dtype), _lanes(weight.mT, b.dtype),
        x.view(-1), frames, np.arange(frames), True,
    )  # fmt: skip
    return Found(x.mT, dual, nit, state > 0)


def _solve(
    bank: Any,
    how: Any,
    b: Tensor,
    given: Tensor | None,
    weights: Tensor | None,
    out: Tensor,
    stride: int,
    place: np.ndarray,
    keep_dual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """One call of the kernel, for the frames that `place` names. Returns their dual, nit and state."""
    from inbounds.nnls.kernels import banded as kernels
    from inbounds.nnls.kernels.lanes import LANES

    frames, m = len(place), bank.sums.shape[0]
    padded = np.full(b.shape[0] // m * LANES, -1)
    padded[:frames] = place
    unread = torch.empty(1, LANES, dtype=b.dtype)
    dual = torch.empty(len(padded) if keep_dual else 0, m, dtype=b.dtype)
    nit, state = np.empty(len(padded), dtype=np.int64), np.empty(len(padded), dtype=np.int8)
    kernels.solve_tiles(
        bank,
        how,
        b.numpy(),
        (unread if given is None else given).numpy(),
        (unread if weights is None else weights).numpy(),
        out.detach().numpy(),
        stride,
        padded,
        dual.numpy(),
        nit,
        state,
    )
    return dual[:frames], torch.from_numpy(nit[:frames]), torch.from_numpy(state[:frames])


def _lanes(value: Float[Tensor, "rows columns"], dtype: torch.dtype) -> Float[Tensor, "parts lanes"]:
    """(rows, columns) filled with zeros to whole tiles, as (rows * tiles, LANES)."""
    from inbounds.nnls.kernels.lanes import LANES

    rows, columns = value.shape
    tiles = -(-columns // LANES)
    filled = torch.empty(rows, tiles * LANES, dtype=dtype)
    filled[:, :columns] = value.detach()
    filled[:, columns:] = 0.0
    return filled.view(rows * tiles, LANES)


def _how(choice: Choice, dtype: torch.dtype, kind: int) -> Any:
    from inbounds.nnls.kernels import tile as kinds

    quadratic = kinds.RELATIVE if choice.relative else kinds.QUADRATIC
    distance = {"quadratic": quadratic, "kl": kinds.KL, "is": kinds.IS}[choice.distance]
    goal = GOALS[dtype]
    return kinds.Choice(kind, distance, choice.ridge, choice.dual_power, FLOOR, LIFT, *goal, RECENTRE)


def _bank(bands: Bands) -> Any:
    """The kernel's view of a matrix: columns with a row, ordered by it."""
    from inbounds.nnls.kernels.tile import Bank

    rows = bands.matrix.shape[0]
    covered = bands.covered.nonzero().flatten()
    order = covered[bands.row[covered].argsort(stable=True)]
    start = torch.searchsorted(bands.row[order].contiguous(), torch.arange(rows + 1))
    return Bank(
        start.numpy(),
        bands.lower[order].numpy(),
        bands.upper[order].numpy(),
        order.numpy(),
        bands.left[order].numpy(),
        bands.right[order].numpy(),
        bands.fraction[order].numpy(),
        bands.matrix.sum(dim=1).numpy(),
        reach(bands.matrix).numpy(),
        (~bands.covered).nonzero().flatten().numpy(),
    )
