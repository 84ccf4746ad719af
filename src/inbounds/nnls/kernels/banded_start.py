"""Where the banded Newton begins, LANES frames abreast: the prior of prior.py, and its warm start."""
# pyright: reportCallIssue=false
# (Numba's intrinsics are called without the typing context their Python signatures begin with.)

from inbounds._jit import VECTORISED, kernel
from inbounds.nnls.kernels.functions import exp2, log2
from inbounds.nnls.kernels.lanes import load, maximum, splat, store, where
from inbounds.nnls.kernels.tile import (
    ENVELOPE,
    FLAT,
    GIVEN,
    KL,
    LIFTED,
    PREPARED,
    QUADRATIC,
    RELATIVE,
    fetch,
    primal,
    side_by_side,
)


@kernel(fastmath=VECTORISED, inner=True)
def start(bank, choice, tile, given, weights, first, scale, prior, weight, ridge):
    """x₀ of every column, and the quadratic's weights; zero in columns that a band of zero forces to zero.

    Sets tile.start to where λ is counted from. Returns the lanes whose given prior is finite.
    """
    m = bank.sums.shape[0]
    kind, distance = choice.prior, choice.distance
    shaped = kind in (ENVELOPE, LIFTED)
    warm = kind == FLAT and distance not in (QUADRATIC, RELATIVE)
    zero, one = splat(scale, 0.0), splat(scale, 1.0)
    for j in range(m + 1):
        store(tile.start, j, zero)
    if shaped or warm:
        _levels(bank, choice, tile)
    mean = _mean_level(bank, tile) if warm else zero
    if warm:
        _warm_start(bank, choice, tile, mean)
    forced = choice.ridge == 0.0 and kind != PREPARED
    finite = zero <= one
    together = kind >= GIVEN and side_by_side(given, first)
    for j in range(m):
        here = load(tile.b, j) > 0.0
        after = load(tile.b, j + 1) > 0.0
        for i in range(bank.start[j], bank.start[j + 1]):
            p, w = mean, one
            if shaped:
                low, high = load(tile.level, bank.left[i]), load(tile.level, bank.right[i])
                p = exp2(low + bank.fraction[i] * (high - low))
            if kind >= GIVEN:
                p_given = fetch(given, bank.target[i], first, together, tile.scratch) * scale
                finite = finite & (abs(p_given) <= 3e38)
                p = maximum(p_given, choice.lift * p) if kind == LIFTED else p_given
            if kind == PREPARED and distance == QUADRATIC:
                w = fetch(weights, bank.target[i], first, together, tile.scratch)
            if forced:
                if bank.lower[i] > 0.0:
                    p, w = where(here, p, zero), where(here, w, zero)
                if bank.upper[i] > 0.0:
                    p, w = where(after, p, zero), where(after, w, zero)
            store(prior, i, p)
            if distance == QUADRATIC:
                store(weight, i, w)
    if warm:
        recentre(bank, choice, tile, tile.start, prior, weight, ridge)
    return finite


@kernel(fastmath=VECTORISED, inner=True)
def recentre(bank, choice, tile, dual, prior, weight, ridge):
    """Let x₀ be x(λ) at this dual, and b what is left of it: b - ελ. Of "kl" and "is"."""
    for j in range(bank.sums.shape[0]):
        lam, lam_after = load(dual, j), load(dual, j + 1)
        store(tile.b, j, load(tile.b, j) - ridge * lam)
        for i in range(bank.start[j], bank.start[j + 1]):
            u = bank.lower[i] * lam + bank.upper[i] * lam_after
            x, _ = primal(choice.distance, u, prior, weight, i)
            store(prior, i, x)


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
def _mean_level(bank, tile):
    """The frame's mean level."""
    mean, total = splat(load(tile.b, 0), 0.0), 0.0
    for j in range(bank.sums.shape[0]):
        total += bank.sums[j]
        mean = mean + maximum(load(tile.b, j), 0.0)
    return mean * (1.0 / total)


@kernel(fastmath=VECTORISED, inner=True)
def _warm_start(bank, choice, tile, mean):
    """The dual that brings x₀ = mean near the bands' levels, into tile.start."""
    known = mean > 0.0
    log_mean = log2(maximum(mean, 1e-37))
    for j in range(bank.sums.shape[0]):
        if bank.reach[j] > 0.0:
            level = load(tile.level, j)
            if choice.distance == KL:
                dual = 0.6931471805599453 * (level - log_mean)
            else:
                dual = 1.0 / mean - exp2(0.0 - level)
            store(tile.start, j, where(known, dual * (1.0 / bank.reach[j]), splat(mean, 0.0)))
