"""The compiled kernel's driver: blocks of frames over threads, and a second attempt for those left."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from inbounds._parallel import for_each_block
from inbounds.nnls.bands import Bands
from inbounds.nnls.frames import Choice, second_attempt
from inbounds.nnls.newton import GOALS, RECENTRE, Found
from inbounds.nnls.prior import FLOOR, LIFT, reach

# Frames a call: enough to hide its cost, few enough to spread over threads and to keep memory small.
_BLOCK = 1024
_AGAIN = 256  # of a second attempt, which holds about ten float64 arrays like x


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
    nits, converged = answer.nit.view(-1).numpy(), answer.converged.view(-1).numpy()
    states = np.empty(b.shape[0] * k, dtype=np.int8)

    def solve(start: int, stop: int) -> None:
        x = answer.x if direct else torch.empty(1, n, stop - start, dtype=working)
        out = _frames(x, start, stop) if direct else _frames(x, 0, stop - start)
        given = None if prior is None else _read(prior, start, stop, working)
        dual, nits[start:stop], states[start:stop] = _solve(
            bank, how, _read(b, start, stop, working), given, None, out, keep_dual
        )
        if not direct:
            _write(answer.x, torch.arange(start, stop), x[0].mT)
        if keep_dual:
            _write(answer.dual, torch.arange(start, stop), dual)

    for_each_block(solve, len(states), _BLOCK)
    converged[:] = states > 0
    left = np.flatnonzero(states == 0)
    wide = bands.to(torch.float64) if len(left) else bands

    def solve_again(start: int, stop: int) -> None:
        which = torch.from_numpy(left[start:stop])
        part = None if prior is None else prior[which // k, :, which % k].to(working)
        found = second_attempt(wide, b[which // k, :, which % k].to(working), part, choice, _newton)
        _write(answer.x, which, found.x)
        nits[left[start:stop]] += found.nit.numpy()
        converged[left[start:stop]] = found.converged.numpy()
        if keep_dual:
            _write(answer.dual, which, found.dual)

    for_each_block(solve_again, len(left), _AGAIN, calls_torch=True)


def _frames(value: Float[Tensor, "batch rows k"], start: int, stop: int) -> Any:
    """The kernel's view of the frames start … stop, counted through the batch."""
    from inbounds.nnls.kernels.tile import Frames

    item, frame = np.divmod(np.arange(start, stop), value.shape[2])
    span = 1 + sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
    flat = torch.as_strided(value.detach(), (span,), (1,))
    return Frames(flat.numpy(), value.stride(1), item * value.stride(0) + frame * value.stride(2))


def _read(value: Float[Tensor, "batch rows k"], start: int, stop: int, dtype: torch.dtype) -> Any:
    """`_frames` of a value of any dtype: another than the kernel's is copied."""
    if value.dtype == dtype:
        return _frames(value, start, stop)
    frame = torch.arange(start, stop)
    copied = value[frame // value.shape[2], :, frame % value.shape[2]].mT.to(dtype)
    return _frames(copied.unsqueeze(0), 0, stop - start)


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

    how = _how(choice, b.dtype, kinds.PREPARED)
    x = torch.empty(prior.shape[1], len(prior), dtype=b.dtype)
    columns, start, weights, out = (
        _frames(part.unsqueeze(0), 0, len(b)) for part in (b.mT, prior.mT, weight.mT, x)
    )
    dual, nit, state = _solve(_bank(bands), how, columns, start, weights, out, True)
    return Found(x.mT, dual, torch.from_numpy(nit), torch.from_numpy(state > 0))


def _solve(
    bank: Any, how: Any, b: Any, given: Any, weights: Any, out: Any, keep_dual: bool
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """One call of the kernel, for `Frames`. Returns their dual, nit and state."""
    from inbounds.nnls.kernels import banded as kernels

    count = len(b.place)
    dual = np.empty((count if keep_dual else 0, len(bank.sums)), dtype=b.values.dtype)
    nit, state = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int8)
    # What is not read is there all the same, for the kernel's signature.
    kernels.solve_frames(bank, how, b, given or b, weights or b, out, dual, nit, state)
    return torch.from_numpy(dual), nit, state


def _how(choice: Choice, dtype: torch.dtype, kind: int) -> Any:
    from inbounds.nnls.kernels import tile as kinds

    quadratic = kinds.RELATIVE if choice.relative else kinds.QUADRATIC
    distance = {"quadratic": quadratic, "kl": kinds.KL, "is": kinds.IS}[choice.distance]
    goal = GOALS[dtype]
    return kinds.Choice(kind, distance, choice.ridge, choice.dual_power, FLOOR, LIFT, *goal, RECENTRE)


# The kernel's views of the matrices in use.
_banks = WeakTensorKeyDictionary()


def _bank(bands: Bands) -> Any:
    """The kernel's view of a matrix: columns with a row, ordered by it. Kept as long as the matrix is."""
    if bands.matrix not in _banks:
        _banks[bands.matrix] = _make_bank(bands)
    return _banks[bands.matrix]


def _make_bank(bands: Bands) -> Any:
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
