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
    store_run,
    where,
)
from inbounds.nnls.kernels.tile import GIVEN, QUADRATIC, Group, aligned, primal, workspace

GROUP = 4


@kernel(fastmath=VECTORISED)
def solve_tiles(bank, choice, b, given, weights, out, stride, place, dual_out, nit, state):
    """Solve T tiles of frames.

    b (m * T, LANES): row j of tile t stands at j * T + t. So do given and weights (n * T, LANES), read
    where choice.prior asks for them. Frame f is written to out[place[f] + i * stride], its dual to row f of
    dual_out where that has rows; place[f] = -1 is no frame. state[f]: 1 done, 0 for a second attempt, -1 not
    finite.
    """
    m, columns = bank.sums.shape[0], bank.lower.shape[0]
    tile = workspace(m, b)
    group = Group(
        aligned(GROUP * columns, b),
        aligned(GROUP * columns if choice.distance == QUADRATIC else GROUP, b),
        aligned(GROUP * (m + 1), b),
        aligned(GROUP, b),
    )
    tiles = place.shape[0] // LANES
    for first in range(0, tiles, GROUP):
        last = min(first + GROUP, tiles)
        for t in range(first, last):
            _solve_tile(
                bank, choice, b, given, weights, t, t - first, tiles, tile, group, dual_out, nit, state
            )
        _write(bank, choice, group, given, tiles, first, last, out, stride, place)


@kernel(fastmath=VECTORISED, inner=True)
def _solve_tile(bank, choice, b, given, weights, t, slot, tiles, tile, group, dual_out, nit, state):
    """Solve tile t; its prior, dual and scale go to the group's slot."""
    m, columns = bank.sums.shape[0], bank.lower.shape[0]
    prior = group.prior[slot * columns : (slot + 1) * columns]
    weight = group.weight[slot * columns :] if choice.distance == QUADRATIC else group.weight
    scale, finite = _take(bank, b, t, tiles, tile)
    ridge = choice.ridge * _scaled(scale, 1 - choice.dual_power)
    finite = finite & start(bank, choice, tile, given, weights, t, tiles, scale, prior, weight, ridge)
    steps, done = newton(bank, choice, tile, prior, weight, ridge)
    done_bits, finite_bits, frame = bits_of(done), bits_of(finite), t * LANES
    for k in range(LANES):
        nit[frame + k] = lane(steps, k)
        state[frame + k] = -1 if not (finite_bits >> k) & 1 else (done_bits >> k) & 1
    for j in range(m + 1):
        store(group.dual, slot * (m + 1) + j, load(tile.dual, j))
    store(group.scale, slot, where(finite, 1.0 / scale, splat(scale, np.nan)))
    if dual_out.shape[0] > 0:
        back = _scaled(scale, -choice.dual_power)
        for j in range(m):
            value = (load(tile.start, j) + load(tile.dual, j)) * back
            for k in range(LANES):
                dual_out[frame + k, j] = lane(value, k)


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def _scaled(scale, power):
    """Scale to a power in 0, 1, 2 or -1."""
    if power == 0:
        return splat(scale, 1.0)
    if power == 1:
        return scale
    return scale * scale if power == 2 else 1.0 / scale


@kernel(fastmath=VECTORISED, inner=True)
def _take(bank, b, t, tiles, tile):
    """The tile's frames over a power of two near their maxima; zero where not finite or without columns."""
    m = bank.sums.shape[0]
    largest = splat(load(b, t), 0.0)
    finite = largest <= 0.0
    for j in range(m):
        size = abs(load(b, j * tiles + t))
        finite = finite & (size <= 3e38)
        if bank.sums[j] > 0.0:
            largest = maximum(size, largest)
    scale = where(finite, power_under(largest), splat(largest, 1.0))
    zero = splat(scale, 0.0)
    for j in range(m):
        value = load(b, j * tiles + t) * scale
        store(tile.b, j, where(finite, value, zero) if bank.sums[j] > 0.0 else zero)
    for rows in (tile.b, tile.level, tile.dual, tile.trial, tile.direction, tile.beside):
        store(rows, m, zero)
    return scale, finite


@kernel(fastmath=VECTORISED, inner=True)
def _write(bank, choice, group, given, tiles, first, last, out, stride, place):
    """X of the group's tiles at their duals, row by row."""
    m, columns = bank.sums.shape[0], bank.lower.shape[0]
    together = place[last * LANES - 1] == place[first * LANES] + (last - first) * LANES - 1
    for j in range(m):
        for i in range(bank.start[j], bank.start[j + 1]):
            row = bank.target[i] * stride
            for t in range(first, last):
                slot = t - first
                at = slot * (m + 1) + j
                u = bank.lower[i] * load(group.dual, at) + bank.upper[i] * load(group.dual, at + 1)
                x, _ = primal(choice.distance, u, group.prior, group.weight, slot * columns + i)
                _put(x * load(group.scale, slot), out, row, place, t * LANES, together)
    for i in bank.without:
        for t in range(first, last):
            scale = load(group.scale, t - first)
            x = load(given, i * tiles + t) if choice.prior >= GIVEN else splat(scale, 0.0)
            _put(where(scale > 0.0, x, scale), out, i * stride, place, t * LANES, together)


@kernel(inner=True, forceinline=True)
def _put(x, out, row, place, frame, together):
    if together:
        store_run(out, row + place[frame], x)
        return
    for k in range(LANES):
        if place[frame + k] >= 0:
            out[row + place[frame + k]] = lane(x, k)
