"""The banded dual Newton of newton.py, sixteen frames abreast; names, rules and stopping tests are its own.

A tile is LANES frames. GROUP tiles are solved one after another and written together, so that every row of
the output receives one run of GROUP * LANES values: its rows lie far apart, and each costs a page.
"""
# pyright: reportCallIssue=false
# (Numba's intrinsics are called without the typing context their Python signatures begin with.)

from typing import NamedTuple

import numpy as np

from inbounds._jit import VECTORISED, kernel
from inbounds.nnls.kernels.lanes import (
    ALL,
    LANES,
    bits_of,
    exp2,
    lane,
    load,
    log2,
    maximum,
    power_under,
    splat,
    store,
    store_run,
    where,
)

GROUP = 4

# Distances; RELATIVE is the quadratic whose weight is x₀².
QUADRATIC, RELATIVE, KL, IS = range(4)
# Priors; GIVEN as the caller has it, LIFTED to a part of the envelope, PREPARED with its weights.
FLAT, ENVELOPE, GIVEN, LIFTED, PREPARED = range(5)


class Bank(NamedTuple):
    """A matrix with two adjacent rows a column; its columns with a row, ordered by their first row."""

    start: np.ndarray  # (m + 1,) the columns start[j] … start[j + 1] touch row j first,
    lower: np.ndarray  # with lower,
    upper: np.ndarray  # and row j + 1 with upper
    target: np.ndarray  # their places in x
    left: np.ndarray  # the rows between whose centres they stand,
    right: np.ndarray
    fraction: np.ndarray  # and how far on the way
    sums: np.ndarray  # (m,) row sums, 0 for a row without columns
    without: np.ndarray  # places in x of the columns without a row


class Choice(NamedTuple):
    """Which optimum, and when it is reached; see newton.py."""

    prior: int
    distance: int
    ridge: float
    dual_power: int
    floor: float
    lift: float
    tolerance: float
    enough: float
    last: float
    damping: float
    rounds: int


class Tile(NamedTuple):
    """Workspace, each (m + 1, LANES); the last row stays zero."""

    b: np.ndarray
    level: np.ndarray  # log₂ of the bands' levels
    dual: np.ndarray
    trial: np.ndarray
    direction: np.ndarray
    residual: np.ndarray  # F
    diagonal: np.ndarray
    beside: np.ndarray
    level0: np.ndarray  # A x at λ = 0, and there too
    diagonal0: np.ndarray
    pivot: np.ndarray


class Group(NamedTuple):
    """What is kept of GROUP tiles until they are written."""

    prior: np.ndarray  # (GROUP * columns, LANES)
    weight: np.ndarray  # likewise, of the distance QUADRATIC only
    dual: np.ndarray  # (GROUP * (m + 1), LANES)
    scale: np.ndarray  # (GROUP, LANES): what x is multiplied by; NaN in a frame that is not finite


@kernel(fastmath=VECTORISED)
def solve_tiles(bank, choice, b, given, weights, out, stride, place, dual_out, nit, state):
    """Solve T tiles of frames.

    b (m * T, LANES): row j of tile t stands at j * T + t. So do given and weights (n * T, LANES), read
    where choice.prior asks for them. Frame f is written to out[place[f] + i * stride], its dual to row f of
    dual_out where that has rows; place[f] = -1 is no frame. state[f]: 1 done, 0 for a second attempt, -1 not
    finite.
    """
    m, columns = bank.sums.shape[0], bank.lower.shape[0]
    rows = _aligned(11 * (m + 1), b)
    tile = Tile(
        rows[0 * (m + 1) : 1 * (m + 1)],
        rows[1 * (m + 1) : 2 * (m + 1)],
        rows[2 * (m + 1) : 3 * (m + 1)],
        rows[3 * (m + 1) : 4 * (m + 1)],
        rows[4 * (m + 1) : 5 * (m + 1)],
        rows[5 * (m + 1) : 6 * (m + 1)],
        rows[6 * (m + 1) : 7 * (m + 1)],
        rows[7 * (m + 1) : 8 * (m + 1)],
        rows[8 * (m + 1) : 9 * (m + 1)],
        rows[9 * (m + 1) : 10 * (m + 1)],
        rows[10 * (m + 1) : 11 * (m + 1)],
    )
    group = Group(
        _aligned(GROUP * columns, b),
        _aligned(GROUP * columns if choice.distance == QUADRATIC else GROUP, b),
        _aligned(GROUP * (m + 1), b),
        _aligned(GROUP, b),
    )
    tiles = place.shape[0] // LANES
    for first in range(0, tiles, GROUP):
        last = min(first + GROUP, tiles)
        for t in range(first, last):
            _solve_tile(
                bank,
                choice,
                b,
                given,
                weights,
                t,
                t - first,
                tiles,
                tile,
                group,
                place,
                dual_out,
                nit,
                state,
            )
        _write(bank, choice, group, given, tiles, first, last, out, stride, place)


@kernel(fastmath=VECTORISED, inner=True)
def _solve_tile(bank, choice, b, given, weights, t, slot, tiles, tile, group, place, dual_out, nit, state):
    """Solve tile t; its prior, dual and scale go to the group's slot."""
    m, columns = bank.sums.shape[0], bank.lower.shape[0]
    prior = group.prior[slot * columns : (slot + 1) * columns]
    weight = group.weight[slot * columns :] if choice.distance == QUADRATIC else group.weight
    scale, finite = _take(bank, b, t, tiles, tile)
    finite = finite & _prior(bank, choice, tile, given, weights, t, tiles, scale, prior, weight)
    ridge = choice.ridge * _scaled(scale, 1 - choice.dual_power)
    steps, done = _newton(bank, choice, tile, prior, weight, ridge)
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
            value = load(tile.dual, j) * back
            for k in range(LANES):
                dual_out[frame + k, j] = lane(value, k)


@kernel()
def _aligned(count, like):
    """(count, LANES) of like's dtype, starting on a cache line."""
    size = like.itemsize
    raw = np.empty(count * LANES + 64 // size, like.dtype)
    shift = (-raw.ctypes.data % 64) // size
    return raw[shift : shift + count * LANES].reshape(count, LANES)


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
def _prior(bank, choice, tile, given, weights, t, tiles, scale, prior, weight):
    """x₀ of every column, and the quadratic's weights; zero in columns that a band of zero forces to zero.

    Returns the lanes whose given prior is finite.
    """
    m = bank.sums.shape[0]
    kind, distance = choice.prior, choice.distance
    shaped = kind in (ENVELOPE, LIFTED)
    zero, one = splat(scale, 0.0), splat(scale, 1.0)
    mean = zero
    if shaped:
        _levels(bank, choice, tile)
    elif kind == FLAT and distance != QUADRATIC:
        total = 0.0
        for j in range(m):
            total += bank.sums[j]
            mean = mean + maximum(load(tile.b, j), 0.0)
        mean = mean * (1.0 / total)
    forced = choice.ridge == 0.0 and kind != PREPARED
    finite = zero <= one
    for j in range(m):
        here = load(tile.b, j) > 0.0
        after = load(tile.b, j + 1) > 0.0
        for i in range(bank.start[j], bank.start[j + 1]):
            p = mean
            if shaped:
                low, high = load(tile.level, bank.left[i]), load(tile.level, bank.right[i])
                p = exp2(low + bank.fraction[i] * (high - low), 7 if prior.itemsize == 4 else 13)
            if kind >= GIVEN:
                p_given = load(given, bank.target[i] * tiles + t) * scale
                finite = finite & (abs(p_given) <= 3e38)
                p = maximum(p_given, choice.lift * p) if kind == LIFTED else p_given
            w = (
                load(weights, bank.target[i] * tiles + t)
                if kind == PREPARED and distance == QUADRATIC
                else one
            )
            if forced:
                if bank.lower[i] > 0.0:
                    p, w = where(here, p, zero), where(here, w, zero)
                if bank.upper[i] > 0.0:
                    p, w = where(after, p, zero), where(after, w, zero)
            store(prior, i, p)
            if distance == QUADRATIC:
                store(weight, i, w)
    return finite


@kernel(fastmath=VECTORISED, inner=True)
def _levels(bank, choice, tile):
    """log₂ of the bands' levels, those far under the loudest lifted to a floor."""
    m = bank.sums.shape[0]
    loudest = splat(load(tile.b, 0), 1e-30)
    for j in range(m):
        if bank.sums[j] > 0.0:
            loudest = maximum(load(tile.b, j) * (1.0 / bank.sums[j]), loudest)
    floor = loudest * choice.floor
    for j in range(m):
        if bank.sums[j] > 0.0:
            store(tile.level, j, log2(maximum(load(tile.b, j) * (1.0 / bank.sums[j]), floor)))


@kernel(fastmath=VECTORISED, inner=True)
def _newton(bank, choice, tile, prior, weight, ridge):
    """From λ = 0; leaves the last accepted λ in tile.dual. Returns the steps and which lanes are done."""
    m = bank.sums.shape[0]
    zero, one = splat(ridge, 0.0), splat(ridge, 1.0)
    for j in range(m):
        store(tile.trial, j, zero)
        store(tile.dual, j, zero)
        store(tile.direction, j, zero)
    step, first_slope, steps, error = one, zero, zero, splat(ridge, np.inf)
    largest = error
    done = zero > 0.0
    for round_ in range(choice.rounds):
        slope, new_error, new_largest = _evaluate(bank, choice, tile, prior, weight, ridge, round_ == 0)
        finite = new_error < 1e30
        taken = finite & (slope <= 0.5 * abs(first_slope)) & ~done
        met = (new_error <= 1.0) | ((new_error <= choice.enough) & (new_error > 0.5 * error))
        for j in range(m):
            store(tile.dual, j, where(taken, load(tile.trial, j), load(tile.dual, j)))
        error = where(taken, new_error, error)
        largest = where(taken, new_largest, largest)
        steps = where(taken & ~met, steps + 1.0, steps)
        done = done | (taken & met)
        if bits_of(done) == ALL:
            break
        new_slope = _direction(choice, tile, taken, ridge)
        secant = where(finite, first_slope / (first_slope - slope), splat(one, 0.1))
        secant = 0.0 - maximum(0.0 - maximum(secant, 0.05), -0.8)
        step = where(taken, one, step * secant)
        first_slope = where(taken, new_slope, first_slope)
        for j in range(m):
            store(tile.trial, j, load(tile.dual, j) + step * load(tile.direction, j))
    return steps, done | (largest <= choice.last)


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def _primal(distance, u, prior, weight, i):
    """X and dx/du of column i; see distances.py."""
    p = load(prior, i)
    if distance == RELATIVE:
        left = 1.0 + p * u
        return p * maximum(left, 0.0), where(left >= 0.0, p * p, splat(p, 0.0))
    if distance == QUADRATIC:
        w = load(weight, i)
        left = p + w * u
        return maximum(left, 0.0), where(left >= 0.0, w, splat(p, 0.0))
    if distance == KL:
        x = p * exp2(1.4426950408889634 * u, 7 if prior.itemsize == 4 else 13)
        return x, x
    left = 1.0 - p * u
    x = where(left > 0.0, p / left, splat(p, np.inf))
    return x, x * x


@kernel(fastmath=VECTORISED, inner=True)
def _evaluate(bank, choice, tile, prior, weight, ridge, at_zero):
    """F and A D Aᵀ + εI at tile.trial. Returns the slope F·d, the error, and max |F|."""
    m = bank.sums.shape[0]
    zero = splat(ridge, 0.0)
    eps = 1.1920929e-07 if prior.itemsize == 4 else 2.220446049250313e-16
    slope, error, largest = zero, zero, zero
    level_after, diagonal_after, rounding_after = (
        zero,
        zero,
        zero,
    )  # what the columns so far give to the next row
    lam = load(tile.trial, 0)
    for j in range(m):
        level, diagonal, beside = level_after, diagonal_after, zero
        level_after, diagonal_after = zero, zero
        lam_after = load(tile.trial, j + 1)
        for i in range(bank.start[j], bank.start[j + 1]):
            lower, upper = bank.lower[i], bank.upper[i]
            x, D = _primal(choice.distance, lower * lam + upper * lam_after, prior, weight, i)
            level = level + lower * x
            level_after = level_after + upper * x
            lower_D = lower * D
            diagonal = diagonal + lower * lower_D
            beside = beside + upper * lower_D
            diagonal_after = diagonal_after + (upper * upper) * D
        b = load(tile.b, j)
        F = level + ridge * lam - b
        if at_zero:
            store(tile.level0, j, level)
            store(tile.diagonal0, j, diagonal)
        rounding = rounding_after + load(tile.level0, j) + diagonal * abs(lam) + beside * abs(lam_after)
        rounding_after = beside * abs(lam)
        scale = choice.tolerance * abs(b) + (4.0 * eps) * rounding
        scale = 0.0 - maximum(0.0 - scale, 0.0 - (3.0 * choice.tolerance) * abs(b) - eps)
        ratio = abs(F) / maximum(scale, 1e-37)
        error = where(ratio <= error, error, ratio)  # a NaN stays
        largest = maximum(abs(F), largest)
        slope = slope + F * load(tile.direction, j)
        store(tile.residual, j, F)
        store(tile.diagonal, j, diagonal)
        store(tile.beside, j, beside)
        lam = lam_after
    return slope, error, largest


@kernel(fastmath=VECTORISED, inner=True)
def _direction(choice, tile, taken, ridge):
    """In the `taken` lanes d = -(A D Aᵀ + εI)⁻¹ F by LDLᵀ, into tile.direction. Returns F·d of every lane.

    A row whose free columns say no more than its neighbours' moves far, until the line search finds where
    others become free.
    """
    m = tile.b.shape[0] - 1
    zero = splat(ridge, 0.0)
    ratio, right = zero, zero  # of the row before: L below its pivot, and its eliminated right-hand side
    beside_before = zero
    for j in range(m):
        damping = maximum(choice.damping * load(tile.diagonal0, j), 1e-37)
        pivot = load(tile.diagonal, j) + ridge + damping - ratio * beside_before
        right = 0.0 - load(tile.residual, j) - ratio * right
        inverse = 1.0 / maximum(pivot, damping)
        beside_before = load(tile.beside, j)
        ratio = beside_before * inverse
        store(tile.pivot, j, ratio)
        store(tile.diagonal, j, right * inverse)
    d = zero
    slope = zero
    for j in range(m - 1, -1, -1):
        d = load(tile.diagonal, j) - load(tile.pivot, j) * d
        store(tile.direction, j, where(taken, d, load(tile.direction, j)))
        slope = slope + load(tile.residual, j) * d
    return slope


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
                x, _ = _primal(choice.distance, u, group.prior, group.weight, slot * columns + i)
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
