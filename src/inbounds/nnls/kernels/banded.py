"""The banded NNLS of frames.py, LANES frames abreast: take a tile's frames, start, solve, write.

A tile is LANES frames. GROUP tiles are solved one after another and written together, so that every row of
the output receives one run of GROUP * LANES values: its rows lie far apart.
"""
# pyright: reportCallIssue=false
# (Numba's intrinsics are called without the typing context their Python signatures begin with.)

import numpy as np

from inbounds._jit import VECTORISED, kernel
from inbounds.nnls.kernels.banded_newton import newton
from inbounds.nnls.kernels.banded_start import start
from inbounds.nnls.kernels.functions import power_under
from inbounds.nnls.kernels.lanes import (
    LANES,
    bits_of,
    lane,
    load,
    maximum,
    splat,
    store,
    where,
)
from inbounds.nnls.kernels.tile import (
    GIVEN,
    QUADRATIC,
    Group,
    aligned,
    fetch,
    primal,
    put,
    side_by_side,
    workspace,
)

GROUP = 4


@kernel(fastmath=VECTORISED)
def solve_frames(bank, choice, b, given, weights, out, dual_out, nit, state):
    """Solve the frames b (m values each), and write x to the frames `out` (n values each).

    given and weights (n values each) are read where choice.prior asks for them. The duals go to dual_out
    (frames, m), where that has rows. state: 1 done, 0 for a second attempt, -1 not finite.
    """
    m, columns = bank.sums.shape[0], bank.lower.shape[0]
    tile = workspace(m, b.values)
    group = Group(
        aligned(GROUP * columns, b.values),
        aligned(GROUP * columns if choice.distance == QUADRATIC else GROUP, b.values),
        aligned(GROUP * (m + 1), b.values),
        aligned(GROUP, b.values),
    )
    count = b.place.shape[0]
    for first in range(0, count, GROUP * LANES):
        slots = min(GROUP, (count - first + LANES - 1) // LANES)
        for slot in range(slots):
            _solve_tile(
                bank, choice, b, given, weights, first + slot * LANES, slot, tile, group, dual_out, nit, state
            )
        _write(bank, choice, group, given, tile, first, slots, out)


@kernel(fastmath=VECTORISED, inner=True)
def _solve_tile(bank, choice, b, given, weights, first, slot, tile, group, dual_out, nit, state):
    """Solve the tile of the frames from `first`; its prior, dual and scale go to the group's slot."""
    m, columns = bank.sums.shape[0], bank.lower.shape[0]
    prior = group.prior[slot * columns : (slot + 1) * columns]
    weight = group.weight[slot * columns :] if choice.distance == QUADRATIC else group.weight
    scale, finite = _take(bank, b, first, tile)
    ridge = choice.ridge * _scaled(scale, 1 - choice.dual_power)
    finite = finite & start(bank, choice, tile, given, weights, first, scale, prior, weight, ridge)
    steps, done = newton(bank, choice, tile, prior, weight, ridge)
    done_bits, finite_bits = bits_of(done), bits_of(finite)
    frames = min(LANES, b.place.shape[0] - first)
    for k in range(frames):
        nit[first + k] = lane(steps, k)
        state[first + k] = -1 if not (finite_bits >> k) & 1 else (done_bits >> k) & 1
    for j in range(m + 1):
        store(group.dual, slot * (m + 1) + j, load(tile.dual, j))
    store(group.scale, slot, where(finite, 1.0 / scale, splat(scale, np.nan)))
    if dual_out.shape[0] > 0:
        back = _scaled(scale, -choice.dual_power)
        for j in range(m):
            value = (load(tile.start, j) + load(tile.dual, j)) * back
            for k in range(frames):
                dual_out[first + k, j] = lane(value, k)


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def _scaled(scale, power):
    """Scale to a power in 0, 1, 2 or -1."""
    if power == 0:
        return splat(scale, 1.0)
    if power == 1:
        return scale
    return scale * scale if power == 2 else 1.0 / scale


@kernel(fastmath=VECTORISED, inner=True)
def _take(bank, b, first, tile):
    """The tile's frames over a power of two near their maxima; zero where not finite or without columns."""
    m = bank.sums.shape[0]
    together = side_by_side(b, first)
    zero = splat(load(tile.b, 0), 0.0)
    largest, finite = zero, zero <= zero
    for j in range(m):
        value = fetch(b, j, first, together, tile.scratch)
        store(tile.b, j, value)
        finite = finite & (abs(value) <= 3e38)
        if bank.sums[j] > 0.0:
            largest = maximum(abs(value), largest)
    scale = where(finite, power_under(largest), zero + 1.0)
    for j in range(m):
        value = load(tile.b, j) * scale
        store(tile.b, j, where(finite, value, zero) if bank.sums[j] > 0.0 else zero)
    for rows in (tile.b, tile.level, tile.dual, tile.trial, tile.direction, tile.beside):
        store(rows, m, zero)
    return scale, finite


@kernel(fastmath=VECTORISED, inner=True)
def _write(bank, choice, group, given, tile, first, slots, out):
    """X of the group's tiles at their duals, row by row."""
    m, columns = bank.sums.shape[0], bank.lower.shape[0]
    last = first + (slots - 1) * LANES
    together = side_by_side(out, last) and out.place[last] == out.place[first] + last - first
    for j in range(m):
        for i in range(bank.start[j], bank.start[j + 1]):
            for slot in range(slots):
                at = slot * (m + 1) + j
                u = bank.lower[i] * load(group.dual, at) + bank.upper[i] * load(group.dual, at + 1)
                x, _ = primal(choice.distance, u, group.prior, group.weight, slot * columns + i)
                x = x * load(group.scale, slot)
                put(out, bank.target[i], first + slot * LANES, together, x)
    for i in bank.without:
        for slot in range(slots):
            scale, frame = load(group.scale, slot), first + slot * LANES
            x = splat(scale, 0.0)
            if choice.prior >= GIVEN:
                x = fetch(given, i, frame, side_by_side(given, frame), tile.scratch)
            put(out, i, frame, together, where(scale > 0.0, x, scale))
