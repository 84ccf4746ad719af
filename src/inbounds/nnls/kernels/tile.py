"""What the banded kernels work on: the bank, what is asked of it, the workspace of a tile of LANES frames.

A column is known here by the dual variables of the two rows it touches; `primal` makes x of them.
"""
# pyright: reportCallIssue=false
# (Numba's intrinsics are called without the typing context their Python signatures begin with.)

from typing import NamedTuple

import numpy as np

from inbounds._jit import VECTORISED, kernel
from inbounds.nnls.kernels.functions import exp2
from inbounds.nnls.kernels.lanes import LANES, lane, load, load_run, maximum, splat, store_run, where

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
    reach: np.ndarray  # (m,) the largest sum of a column touching the row
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
    recentre: int


class Frames(NamedTuple):
    """Frames as they lie in memory: value i of frame f is values[place[f] + i * row]."""

    values: np.ndarray
    row: int
    place: np.ndarray


class Tile(NamedTuple):
    """Workspace, each (m + 1, LANES); the last row stays zero."""

    b: np.ndarray
    level: np.ndarray  # log₂ of the bands' levels
    start: np.ndarray  # where λ is counted from
    dual: np.ndarray
    trial: np.ndarray
    direction: np.ndarray
    residual: np.ndarray  # F
    diagonal: np.ndarray
    beside: np.ndarray
    level0: np.ndarray  # A x at λ = 0, and there too
    diagonal0: np.ndarray
    pivot: np.ndarray
    scratch: np.ndarray


class Group(NamedTuple):
    """What is kept of some tiles until they are written."""

    prior: np.ndarray  # (tiles * columns, LANES)
    weight: np.ndarray  # likewise, of the distance QUADRATIC only
    dual: np.ndarray  # (tiles * (m + 1), LANES)
    scale: np.ndarray  # (tiles, LANES): what x is multiplied by; NaN in a frame that is not finite


@kernel()
def aligned(count, like):
    """(count, LANES) of like's dtype, starting on a cache line."""
    size = like.itemsize
    raw = np.empty(count * LANES + 64 // size, like.dtype)
    shift = (-raw.ctypes.data % 64) // size
    return raw[shift : shift + count * LANES].reshape(count, LANES)


@kernel()
def workspace(m, like):
    """A Tile for m rows."""
    rows = aligned(13 * (m + 1), like).reshape(13, m + 1, LANES)
    return Tile(
        rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6],
        rows[7], rows[8], rows[9], rows[10], rows[11], rows[12],
    )  # fmt: skip


@kernel(inner=True, forceinline=True)
def side_by_side(frames, first):
    """Whether the LANES frames from `first` exist and lie side by side."""
    last = first + LANES - 1
    return last < frames.place.shape[0] and frames.place[last] == frames.place[first] + LANES - 1


@kernel(inner=True, forceinline=True)
def fetch(frames, i, first, together, scratch):
    """Value i of the frames from `first`; 0 where there are no more."""
    if together:
        return load_run(frames.values, frames.place[first] + i * frames.row)
    count = frames.place.shape[0]
    for k in range(LANES):
        there = first + k < count
        scratch[0, k] = frames.values[frames.place[first + k] + i * frames.row] if there else 0.0
    return load(scratch, 0)


@kernel(inner=True, forceinline=True)
def put(frames, i, first, together, value):
    """Write value i of the frames from `first`, as far as there are any."""
    if together:
        store_run(frames.values, frames.place[first] + i * frames.row, value)
        return
    for k in range(min(LANES, frames.place.shape[0] - first)):
        frames.values[frames.place[first + k] + i * frames.row] = lane(value, k)


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def primal(distance, u, prior, weight, i):
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
        x = p * exp2(1.4426950408889634 * u)
        return x, x
    left = 1.0 - p * u
    x = where(left > 0.0, p / left, splat(p, np.inf))
    return x, x * x
