"""What the kernels are held against: slow, dense, obvious, and written from the definitions alone. NumPy."""

import itertools

import numpy as np


def dense_bfgs(pairs: list[tuple[np.ndarray, np.ndarray]], theta: float) -> np.ndarray:
    """B after the BFGS updates by (s, y), oldest first, from B₀ = θI."""
    n = len(pairs[0][0]) if pairs else 0
    B = theta * np.eye(n)
    for s, y in pairs:
        Bs = B @ s
        B = B - np.outer(Bs, Bs) / (s @ Bs) + np.outer(y, y) / (s @ y)
    return B


def walk_to_cauchy_point(
    x: np.ndarray, g: np.ndarray, lower: np.ndarray, upper: np.ndarray, B: np.ndarray
) -> np.ndarray:
    """The first local minimiser of gᵀz + ½zᵀBz along P(x - tg), segment by segment."""

    def at(t: float) -> np.ndarray:
        return np.clip(x - t * g, lower, upper)

    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(g > 0, x - lower, x - upper)
        t = np.where(g == 0, np.inf, room / g)
    now = 0.0
    for after in [*sorted(set(t[(t > 0) & np.isfinite(t)])), np.inf]:
        d = np.where(t > now, -g, 0.0)
        if not d.any():
            break
        slope = g @ d + d @ B @ (at(now) - x)
        curvature = d @ B @ d
        if slope >= 0:
            break
        if -slope / curvature < after - now:
            now += -slope / curvature
            break
        now = after
    return at(now)


def box_qp(
    H: np.ndarray, c: np.ndarray, lower: np.ndarray, upper: np.ndarray, tolerance: float = 1e-9
) -> np.ndarray:
    """The minimiser of ½xᵀHx + cᵀx in a finite box, H > 0, by trying every set of active bounds."""
    n = len(c)
    for places in itertools.product((0, 1, 2), repeat=n):
        place = np.array(places)
        free = place == 0
        x = np.where(place == 1, lower, upper)
        x[free] = np.linalg.solve(H[np.ix_(free, free)], -(c + H[:, ~free] @ x[~free])[free])
        g = H @ x + c
        feasible = ((x >= lower - tolerance) & (x <= upper + tolerance)).all()
        signs = (g[place == 1] >= -tolerance).all() and (g[place == 2] <= tolerance).all()
        if feasible and signs:
            return x
    raise AssertionError("a strictly convex problem has a minimiser")
