"""The semismooth Newton of newton.py, LANES frames abreast; names, rules and stopping tests are its own."""
# pyright: reportCallIssue=false
# (Numba's intrinsics are called without the typing context their Python signatures begin with.)

import numpy as np

from inbounds._jit import VECTORISED, kernel
from inbounds.nnls.kernels import search
from inbounds.nnls.kernels.banded_start import recentre
from inbounds.nnls.kernels.lanes import ALL, bits_of, load, maximum, minimum, splat, store, where
from inbounds.nnls.kernels.tile import IS, KL, primal


@kernel(fastmath=VECTORISED, inner=True)
def newton(bank, choice, tile, prior, weight, ridge):
    """From λ = 0; leaves the last accepted λ in tile.dual, counted from tile.start.

    Returns the steps and which lanes are done.
    """
    m = bank.sums.shape[0]
    zero = splat(ridge, 0.0)
    for j in range(m):
        store(tile.trial, j, zero)
        store(tile.dual, j, zero)
        store(tile.direction, j, zero)
    line, steps, error = search.begin(zero), zero, splat(ridge, np.inf)
    largest = error
    done = zero > 0.0
    for round_ in range(choice.rounds):
        slope, new_error, new_largest = _evaluate(bank, choice, tile, prior, weight, ridge, round_ == 0)
        good, line = search.judge(line, slope, new_error < 1e30)
        taken = (good | (new_error <= 1.0)) & ~done
        met = (new_error <= 1.0) | ((new_error <= choice.enough) & (new_error > 0.5 * error))
        stuck = ~taken & (error <= choice.enough)  # in rounding
        for j in range(m):
            store(tile.dual, j, where(taken, load(tile.trial, j), load(tile.dual, j)))
        error = where(taken, new_error, error)
        largest = where(taken, new_largest, largest)
        steps = where(taken & ~met, steps + 1.0, steps)
        done = done | (taken & met) | stuck
        if bits_of(done) == ALL:
            break
        line = search.restart(line, taken, _direction(choice, tile, taken, ridge))
        if choice.distance in (KL, IS) and round_ % choice.recentre == choice.recentre - 1:
            recentre(bank, choice, tile, tile.dual, prior, weight, ridge)
            for j in range(m):
                store(tile.start, j, load(tile.start, j) + load(tile.dual, j))
                store(tile.dual, j, zero)
        for j in range(m):
            store(tile.trial, j, load(tile.dual, j) + line.step * load(tile.direction, j))
    return steps, done | (largest <= choice.last)


@kernel(fastmath=VECTORISED, inner=True)
def _evaluate(bank, choice, tile, prior, weight, ridge, at_zero):
    """F and A D Aᵀ + εI at tile.trial. Returns the slope F·d, the error, and max |F|."""
    m = bank.sums.shape[0]
    zero = splat(ridge, 0.0)
    eps = 1.1920929e-07 if prior.itemsize == 4 else 2.220446049250313e-16
    slope, error, largest = zero, zero, zero
    # What the columns so far give to the next row.
    level_after, diagonal_after, rounding_after = zero, zero, zero
    lam = load(tile.trial, 0)
    for j in range(m):
        level, diagonal, beside = level_after, diagonal_after, zero
        level_after, diagonal_after = zero, zero
        lam_after = load(tile.trial, j + 1)
        for i in range(bank.start[j], bank.start[j + 1]):
            lower, upper = bank.lower[i], bank.upper[i]
            x, D = primal(choice.distance, lower * lam + upper * lam_after, prior, weight, i)
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
        scale = choice.tolerance * abs(b) + eps * minimum(4.0 * rounding, 1.0)
        ratio = abs(F) / maximum(scale, 1e-37)
        error = where(ratio <= error, error, where(ratio > error, ratio, zero + np.inf))  # a NaN is far
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
