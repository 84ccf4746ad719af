"""The compiled kernel's driver: blocks of frames over threads, and a second attempt for those left."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from inbounds._parallel import for_each_block
from inbounds.nnls.bands import Bands
from inbounds.nnls.frames import Choice, second_attempt
from inbounds.nnls.newton import GOALS, Found
from inbounds.nnls.prior import FLOOR, LIFT

# Frames a call: enough to hide its cost, few enough to spread over threads and to keep memory small.
_BLOCK = 512


class Answer(NamedTuple):
    """Where the answers of columns b (batch, m, k) go."""

    x: Float[Tensor, "batch n k"]
    dual: Float[Tensor, "batch m kept"]  # kept is k or 0
    nit: Int[Tensor, "batch k"]
    converged: Tensor  # (batch, k) bool


def solve_cpu(
    bands: Bands, b: Float[Tensor, "batch m k"], prior: Tensor | None, choice: Choice, answer: Answer
) -> None:
    """Fill `answer`, by the kernel, in the dtype of `bands`."""
    from inbounds.nnls.kernels import banded as kernels

    working = bands.matrix.dtype
    bank = _bank(bands)
    kind = {"flat": kernels.FLAT, "envelope": kernels.ENVELOPE}.get(choice.prior, kernels.GIVEN)
    if kind == kernels.GIVEN and choice.positive:
        kind = kernels.LIFTED
    how = _how(choice, working, kind)
    k, n = b.shape[2], answer.x.shape[1]
    direct = answer.x.dtype == working

    def work(start: int, stop: int) -> None:
        column = torch.arange(start, stop)
        item, frame = column // k, column % k
        block = _lanes(_columns(b, item, frame), working)
        given = None if prior is None else _lanes(_columns(prior, item, frame), working)
        if direct:
            out, stride, place = answer.x.view(-1), k, item * (n * k) + frame
        else:
            out, stride, place = torch.empty(n * (stop - start), dtype=working), stop - start, column - start
        dual, nit, state = _solve(
            bank, how, block, given, None, out, stride, place, bool(answer.dual.shape[-1])
        )
        if not direct:
            answer.x[item, :, frame] = out.view(n, -1).mT.to(answer.x.dtype)
        answer.nit[item, frame] = nit
        answer.converged[item, frame] = state > 0
        if answer.dual.shape[-1]:
            answer.dual[item, :, frame] = dual.to(answer.dual.dtype)
        left = torch.nonzero(state == 0).flatten()
        if left.numel():
            item, frame = item[left], frame[left]
            part = None if prior is None else prior[item, :, frame].to(working)
            found = second_attempt(bands, b[item, :, frame].to(working), part, choice, _newton)
            answer.x[item, :, frame] = found.x.to(answer.x.dtype)
            answer.nit[item, frame] += found.nit
            answer.converged[item, frame] = found.converged
            if answer.dual.shape[-1]:
                answer.dual[item, :, frame] = found.dual.to(answer.dual.dtype)

    for_each_block(work, b.shape[0] * k, _BLOCK)


def _newton(
    bands: Bands,
    b: Float[Tensor, "b m"],
    prior: Float[Tensor, "b n"],
    weight: Float[Tensor, "b n"],
    choice: Choice,
    ridge: Float[Tensor, "b 1"],
) -> Found:
    """`newton.newton` by the kernel."""
    from inbounds.nnls.kernels import banded as kernels

    frames, n = prior.shape
    x = torch.empty(n, frames, dtype=b.dtype)
    how = _how(choice, b.dtype, kernels.PREPARED)
    dual, nit, state = _solve(
        _bank(bands), how, _lanes(b.mT, b.dtype), _lanes(prior.mT, b.dtype), _lanes(weight.mT, b.dtype),
        x.view(-1), frames, torch.arange(frames), True,
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
    place: Tensor,
    keep_dual: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """One call of the kernel, for the frames that `place` names. Returns their dual, nit and state."""
    from inbounds.nnls.kernels import banded as kernels
    from inbounds.nnls.kernels.lanes import LANES

    m = bank.sums.shape[0]
    tiles = b.shape[0] // m
    padded = np.full(tiles * LANES, -1, dtype=np.int64)
    padded[: len(place)] = place.numpy()
    unread = torch.empty(1, LANES, dtype=b.dtype)
    dual = torch.empty(tiles * LANES if keep_dual else 0, m, dtype=b.dtype)
    nit = torch.empty(tiles * LANES, dtype=torch.int64)
    state = torch.empty(tiles * LANES, dtype=torch.int8)
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
        nit.numpy(),
        state.numpy(),
    )
    return dual[: len(place)], nit[: len(place)], state[: len(place)]


def _columns(value: Tensor, item: Tensor, frame: Tensor) -> Tensor:
    """value[item, :, frame] transposed to (rows, columns), a view where the columns lie in one item."""
    if item[0] == item[-1]:
        return value[int(item[0]), :, int(frame[0]) : int(frame[-1]) + 1]
    return value[item, :, frame].mT


def _lanes(value: Float[Tensor, "rows columns"], dtype: torch.dtype) -> Float[Tensor, "parts lanes"]:
    """(rows, columns) filled with zeros to whole tiles, as (rows * tiles, LANES)."""
    from inbounds.nnls.kernels.lanes import LANES

    rows, columns = value.shape
    tiles = -(-columns // LANES)
    filled = torch.zeros(rows, tiles * LANES, dtype=dtype)
    filled[:, :columns] = value.detach()
    return filled.view(rows * tiles, LANES)


def _how(choice: Choice, dtype: torch.dtype, kind: int) -> Any:
    from inbounds.nnls.kernels import banded as kernels

    distance = {"quadratic": kernels.RELATIVE if choice.relative else kernels.QUADRATIC}.get(
        choice.distance, kernels.KL if choice.distance == "kl" else kernels.IS
    )
    if kind == kernels.PREPARED and distance == kernels.RELATIVE:
        kind = kernels.PREPARED
    return kernels.Choice(kind, distance, choice.ridge, choice.dual_power, FLOOR, LIFT, *GOALS[dtype])


def _bank(bands: Bands) -> Any:
    """The kernel's view of a matrix: columns with a row, ordered by it."""
    from inbounds.nnls.kernels import banded as kernels

    rows = bands.matrix.shape[0]
    covered = bands.covered.nonzero().flatten()
    order = covered[bands.row[covered].argsort(stable=True)]
    start = torch.searchsorted(bands.row[order].contiguous(), torch.arange(rows + 1))
    return kernels.Bank(
        start.numpy(),
        bands.lower[order].numpy(),
        bands.upper[order].numpy(),
        order.numpy(),
        bands.left[order].numpy(),
        bands.right[order].numpy(),
        bands.fraction[order].numpy(),
        bands.matrix.sum(dim=1).numpy(),
        (~bands.covered).nonzero().flatten().numpy(),
    )
