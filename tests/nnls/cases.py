"""Matrices and right-hand sides of every kind, with optima found by others."""

import numpy as np
import scipy.optimize
import torch

KINDS = [
    "gauss",
    "positive",
    "random b",
    "reachable b",
    "duplicates",
    "low rank",
    "collinear",
    "scaled",
    "zeros",
]


def make(kind, m, n, k, seed=0):
    """A (m, n) and b (m, k) in float64; about half of a generic optimum is at zero."""
    rng = np.random.default_rng(seed)
    A = rng.random((m, n)) if kind in ("positive", "scaled") else rng.standard_normal((m, n))
    if kind == "duplicates":
        A[:, n // 2 : 2 * (n // 2)] = A[:, : n // 2]
    if kind == "low rank":
        r = max(1, min(m, n) // 2)
        A = rng.random((m, r)) @ rng.standard_normal((r, n))
    if kind == "collinear":
        A = A[:, :1] + 1e-6 * A
    if kind == "zeros":
        A[:, ::3] = 0.0
    unit = A / np.maximum(np.linalg.norm(A, axis=0), 1e-300)
    b = unit @ np.maximum(rng.standard_normal((n, k)), 0.0)
    if kind != "reachable b":
        b += 0.3 * rng.standard_normal((m, k))
    if kind == "random b":
        b = rng.standard_normal((m, k))
    if kind == "scaled":
        A = A * 10.0 ** rng.uniform(-8, 8, n)
    return torch.from_numpy(A), torch.from_numpy(b)


def reference(A, b):
    """scipy.optimize.nnls, column by column."""
    columns = [scipy.optimize.nnls(A.numpy(), c, maxiter=50 * A.shape[1])[0] for c in b.T.numpy()]
    return torch.from_numpy(np.stack(columns, axis=-1)) if columns else b.new_zeros(A.shape[1], 0)


def objective(A, b, x):
    return (A @ x - b).square().sum(-2)


def assert_as_good(A, b, x, than, relative=1e-8):
    """The objective of x, against another's: the issue's bar."""
    ours, theirs = objective(A, b, x), objective(A, b, than)
    slack = torch.maximum(relative * theirs, 1e-14 * b.square().sum(-2))
    assert (ours <= theirs + slack).all(), ((ours - theirs) / slack).max()


def brute_force(A, b, lower, upper):
    """The objective's least value over every split into lower, upper and free variables; n small."""
    n, best = A.shape[1], torch.full_like(b[0], torch.inf)
    for code in range(3**n):
        side = torch.tensor([code // 3**j % 3 for j in range(n)])
        fixed = torch.where(side == 0, lower, upper)
        free = side == 2
        if not fixed[~free].isfinite().all():
            continue
        x = torch.where(free, 0.0, fixed)[:, None].repeat(1, b.shape[1])
        if free.any():
            x[free] = torch.linalg.pinv(A[:, free]) @ (b - A @ x)
        inside = ((x >= lower[:, None] - 1e-12) & (x <= upper[:, None] + 1e-12)).all(0)
        best = torch.where(inside, torch.minimum(best, objective(A, b, x)), best)
    return best
