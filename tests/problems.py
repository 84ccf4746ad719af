"""Bound-constrained problems with exact gradients and known minima: every optimiser test runs over them.

Functions take x of shape (..., n) and give (...); gradients give (..., n). Both are written by hand, apart
from each other, and checked against autograd in `test_problems.py`. HS numbers are those of Hock and
Schittkowski, Test Examples for Nonlinear Programming Codes (1981).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

INF = float("inf")


@dataclass(frozen=True)
class Problem:
    name: str
    fun: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor], Tensor]
    x0: Tensor  # (n,), float64; may lie outside the box
    lower: Tensor
    upper: Tensor
    minima: tuple[float, ...]  # values of the local minima a descent method may rightly end at
    minimiser: Tensor | None = None  # where there is only one
    options: dict[str, Any] = field(default_factory=dict)  # beyond the defaults
    smooth: bool = True  # finite in the whole box, curved: parity with SciPy's path is expected

    @property
    def n(self) -> int:
        return self.x0.shape[0]

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.lower, self.upper

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.fun(x), self.gradient(x)


def vector(value: object, n: int) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).expand(n).clone()


def problem(name, fun, gradient, x0, lower, upper, minima, *, n=None, **more) -> Problem:
    """A Problem from numbers or lists: scalars are repeated n times."""
    n = len(x0) if n is None else n
    minima = (minima,) if isinstance(minima, float | int) else minima
    return Problem(
        name, fun, gradient, vector(x0, n), vector(lower, n), vector(upper, n), tuple(minima), **more
    )


# Functions and their gradients


def rosenbrock(x):
    a, b = x[..., :-1], x[..., 1:]
    return (100 * (b - a**2) ** 2 + (1 - a) ** 2).sum(-1)


def rosenbrock_gradient(x):
    a, b = x[..., :-1], x[..., 1:]
    g = torch.zeros_like(x)
    g[..., :-1] = -400 * a * (b - a**2) - 2 * (1 - a)
    g[..., 1:] += 200 * (b - a**2)
    return g


def extended_rosenbrock(x):
    a, b = x[..., ::2], x[..., 1::2]
    return (100 * (b - a**2) ** 2 + (1 - a) ** 2).sum(-1)


def extended_rosenbrock_gradient(x):
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack([-400 * a * (b - a**2) - 2 * (1 - a), 200 * (b - a**2)], dim=-1).flatten(-2)


def driver(x):
    a, b = x[..., :-1], x[..., 1:]
    return (x[..., 0] - 1) ** 2 + 4 * ((b - a**2) ** 2).sum(-1)


def driver_gradient(x):
    a, b = x[..., :-1], x[..., 1:]
    g = torch.zeros_like(x)
    g[..., 0] = 2 * (x[..., 0] - 1)
    g[..., :-1] -= 16 * a * (b - a**2)
    g[..., 1:] += 8 * (b - a**2)
    return g


def himmelblau(x):
    a, b = x[..., 0], x[..., 1]
    return (a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2


def himmelblau_gradient(x):
    a, b = x[..., 0], x[..., 1]
    first, second = a**2 + b - 11, a + b**2 - 7
    return torch.stack([4 * a * first + 2 * second, 2 * first + 4 * b * second], dim=-1)


def beale(x):
    a, b = x[..., 0], x[..., 1]
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def beale_gradient(x):
    a, b = x[..., 0], x[..., 1]
    r1, r2, r3 = 1.5 - a + a * b, 2.25 - a + a * b**2, 2.625 - a + a * b**3
    da = 2 * (r1 * (b - 1) + r2 * (b**2 - 1) + r3 * (b**3 - 1))
    db = 2 * a * (r1 + 2 * b * r2 + 3 * b**2 * r3)
    return torch.stack([da, db], dim=-1)


def powell_singular(x):
    a, b, c, d = x[..., 0::4], x[..., 1::4], x[..., 2::4], x[..., 3::4]
    return ((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4).sum(-1)


def powell_singular_gradient(x):
    a, b, c, d = x[..., 0::4], x[..., 1::4], x[..., 2::4], x[..., 3::4]
    parts = [
        2 * (a + 10 * b) + 40 * (a - d) ** 3,
        20 * (a + 10 * b) + 4 * (b - 2 * c) ** 3,
        10 * (c - d) - 8 * (b - 2 * c) ** 3,
        -10 * (c - d) - 40 * (a - d) ** 3,
    ]
    return torch.stack(parts, dim=-1).flatten(-2)


def styblinski_tang(x):
    return 0.5 * (x**4 - 16 * x**2 + 5 * x).sum(-1)


def styblinski_tang_gradient(x):
    return 2 * x**3 - 16 * x + 2.5


def wood(x):
    a, b, c, d = x.unbind(-1)
    return (
        100 * (b - a**2) ** 2
        + (1 - a) ** 2
        + 90 * (d - c**2) ** 2
        + (1 - c) ** 2
        + 10.1 * ((b - 1) ** 2 + (d - 1) ** 2)
        + 19.8 * (b - 1) * (d - 1)
    )


def wood_gradient(x):
    a, b, c, d = x.unbind(-1)
    parts = [
        -400 * a * (b - a**2) - 2 * (1 - a),
        200 * (b - a**2) + 20.2 * (b - 1) + 19.8 * (d - 1),
        -360 * c * (d - c**2) - 2 * (1 - c),
        180 * (d - c**2) + 20.2 * (d - 1) + 19.8 * (b - 1),
    ]
    return torch.stack(parts, dim=-1)


def hs3(x):
    a, b = x[..., 0], x[..., 1]
    return b + 1e-5 * (b - a) ** 2


def hs3_gradient(x):
    difference = 2e-5 * (x[..., 1] - x[..., 0])
    return torch.stack([-difference, 1 + difference], dim=-1)


def hs4(x):
    return (x[..., 0] + 1) ** 3 / 3 + x[..., 1]


def hs4_gradient(x):
    return torch.stack([(x[..., 0] + 1) ** 2, torch.ones_like(x[..., 1])], dim=-1)


def mccormick(x):
    a, b = x[..., 0], x[..., 1]
    return torch.sin(a + b) + (a - b) ** 2 - 1.5 * a + 2.5 * b + 1


def mccormick_gradient(x):
    a, b = x[..., 0], x[..., 1]
    wave = torch.cos(a + b)
    return torch.stack([wave + 2 * (a - b) - 1.5, wave - 2 * (a - b) + 2.5], dim=-1)


def hs45(x):
    return 2 - x.prod(-1) / 120


def hs45_gradient(x):
    others = [x[..., [j for j in range(5) if j != i]].prod(-1) for i in range(5)]
    return -torch.stack(others, dim=-1) / 120


def hs110(x):
    return (torch.log(x - 2) ** 2 + torch.log(10 - x) ** 2).sum(-1) - x.prod(-1) ** 0.2


def hs110_gradient(x):
    logs = 2 * torch.log(x - 2) / (x - 2) - 2 * torch.log(10 - x) / (10 - x)
    return logs - 0.2 * (x.prod(-1) ** 0.2)[..., None] / x


def dixon_price(x):
    weight = torch.arange(2, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    return (x[..., 0] - 1) ** 2 + (weight * (2 * x[..., 1:] ** 2 - x[..., :-1]) ** 2).sum(-1)


def dixon_price_gradient(x):
    weight = torch.arange(2, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    residual = weight * (2 * x[..., 1:] ** 2 - x[..., :-1])
    g = torch.zeros_like(x)
    g[..., 0] = 2 * (x[..., 0] - 1)
    g[..., :-1] -= 2 * residual
    g[..., 1:] += 8 * residual * x[..., 1:]
    return g


def trid(x):
    return ((x - 1) ** 2).sum(-1) - (x[..., 1:] * x[..., :-1]).sum(-1)


def trid_gradient(x):
    g = 2 * (x - 1)
    g[..., 1:] -= x[..., :-1]
    g[..., :-1] -= x[..., 1:]
    return g


def log_barrier(x):
    """Σ x - log x, and +inf where some x <= 0: the function itself knows where it ends."""
    inside = (x > 0).all(-1)
    safe = torch.where(x > 0, x, 1.0)
    return torch.where(inside, (safe - torch.log(safe)).sum(-1), INF)


def log_barrier_gradient(x):
    inside = (x > 0).all(-1, keepdim=True)
    return torch.where(inside, 1 - 1 / torch.where(x > 0, x, 1.0), 0.0)


def quartic(x):
    return ((x - 2) ** 4).sum(-1)


def quartic_gradient(x):
    return 4 * (x - 2) ** 3


def cosine(x):
    return torch.cos(x).sum(-1)


def cosine_gradient(x):
    return -torch.sin(x)


# Families made to measure


def weighted_distance(name, weight, centre, x0, lower, upper, **more) -> Problem:
    """½ Σ w (x - c)²: the minimiser is c clipped to the box."""
    weight, centre = weight.double(), centre.double()
    n = len(centre)
    lower, upper = vector(lower, n), vector(upper, n)
    best = centre.clamp(lower, upper)

    def fun(x):
        return 0.5 * (weight.to(x) * (x - centre.to(x)) ** 2).sum(-1)

    def gradient(x):
        return weight.to(x) * (x - centre.to(x))

    minimum = float(fun(best))
    return Problem(name, fun, gradient, vector(x0, n), lower, upper, (minimum,), minimiser=best, **more)


def linear(name, slope, x0, lower, upper, **more) -> Problem:
    """cᵀx: the minimiser is a corner."""
    slope = vector(slope, len(slope))
    n = len(slope)
    best = torch.where(slope > 0, vector(lower, n), vector(upper, n))
    minimum = float(slope @ best)

    def fun(x):
        return (slope.to(x) * x).sum(-1)

    def gradient(x):
        return slope.to(x).expand_as(x).clone()

    return problem(name, fun, gradient, x0, lower, upper, minimum, n=n, minimiser=best, smooth=False, **more)


def box_qp(n: int, *, condition: float, seed: int) -> Problem:
    """½ xᵀHx + cᵀx in [-1, 1]ⁿ, its optimum built with its multipliers: a third free, the rest on bounds."""
    rng = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=torch.float64))
    H = q * torch.logspace(0, math.log10(condition), n, dtype=torch.float64) @ q.mT
    H = (H + H.mT) / 2
    place = torch.arange(n) % 3  # 0: free, 1: on the lower bound, 2: on the upper
    inside = torch.rand(n, generator=rng, dtype=torch.float64) * 1.8 - 0.9
    best = torch.where(place == 0, inside, torch.where(place == 1, -1.0, 1.0))
    multiplier = 0.1 + torch.rand(n, generator=rng, dtype=torch.float64)
    g = torch.where(place == 0, 0.0, torch.where(place == 1, multiplier, -multiplier))
    c = g - H @ best

    def times_H(x):
        return (H.to(x) * x[..., None, :]).sum(-1)  # to the bit the same in a batch as alone

    def fun(x):
        return (x * (0.5 * times_H(x) + c.to(x))).sum(-1)

    def gradient(x):
        return times_H(x) + c.to(x)

    return problem(
        f"box-qp-{n}-cond{condition:g}-{seed}",
        fun,
        gradient,
        0.0,
        -1.0,
        1.0,
        float(fun(best)),
        n=n,
        minimiser=best,
    )


# The registry

EPS = torch.finfo(torch.float64).eps
STYBLINSKI_TANG = -2.903534027771177  # the least root of its derivative
HS2_A = math.sqrt(598 / 1200)
HS2_X = 2 * HS2_A * math.cos(math.acos(1 / (400 * HS2_A**3)) / 3)
DRIVER_BOX = {n: ([1.0, -100.0] * (n // 2) + [1.0] * (n % 2), 100.0) for n in (25, 1000)}

# The three example programs of L-BFGS-B 3.0; the second and third stop at 1e-10 (1 + |f|), f being almost 0.
DRIVERS = tuple(
    problem(name, driver, driver_gradient, 3.0, *DRIVER_BOX[n], 0.0, n=n, options=options)
    for name, n, options in (
        ("driver1", 25, {"maxcor": 5, "ftol": 1e7 * EPS, "gtol": 1e-5}),
        ("driver2", 25, {"maxcor": 5, "ftol": 0.0, "gtol": 1e-10}),
        ("driver3", 1000, {"maxcor": 10, "ftol": 0.0, "gtol": 1e-10}),
    )
)

ROSENBROCKS = tuple(
    problem(f"rosenbrock-{n}", rosenbrock, rosenbrock_gradient, 0.5, -2.0, 2.0, 0.0, n=n)
    for n in (2, 3, 5, 10, 20, 50)
)

CLASSICS = (
    problem("rosenbrock-free", rosenbrock, rosenbrock_gradient, [-1.2, 1.0], -INF, INF, 0.0),
    problem("rosenbrock-active", rosenbrock, rosenbrock_gradient, [-1.2, 1.0], -INF, [0.5, INF], 0.25),
    problem("hs1", rosenbrock, rosenbrock_gradient, [-2.0, 1.0], [-INF, -1.5], INF, 0.0),
    problem("hs2", rosenbrock, rosenbrock_gradient, [-2.0, 1.0], [-INF, 1.5], INF,
            (float(rosenbrock(torch.tensor([HS2_X, 1.5]).double())), 4.941229318)),
    problem("hs3", hs3, hs3_gradient, [10.0, 1.0], [-INF, 0.0], INF, 0.0),
    problem("hs4", hs4, hs4_gradient, [1.125, 0.125], [1.0, 0.0], INF, 8 / 3),
    problem("hs5", mccormick, mccormick_gradient, [0.0, 0.0], [-1.5, -3.0], [4.0, 3.0],
            -math.sqrt(3) / 2 - math.pi / 3),
    problem("hs38", wood, wood_gradient, [-3.0, -1.0, -3.0, -1.0], -10.0, 10.0, 0.0),
    problem("hs45", hs45, hs45_gradient, 2.0, 0.0, [1.0, 2.0, 3.0, 4.0, 5.0], 1.0, n=5),
    problem("hs110", hs110, hs110_gradient, 9.0, 2.001, 9.999, -45.77846970744629, n=10),
    problem("extended-rosenbrock", extended_rosenbrock, extended_rosenbrock_gradient,
            [-1.2, 1.0] * 10, -INF, INF, 0.0),
    problem("himmelblau", himmelblau, himmelblau_gradient, [0.0, 0.0], -5.0, 5.0, 0.0),
    problem("himmelblau-corner", himmelblau, himmelblau_gradient, [0.0, 0.0], -2.0, 2.0, 26.0),
    problem("beale", beale, beale_gradient, [1.0, 1.0], -4.5, 4.5, 0.0),
    problem("beale-active", beale, beale_gradient, [1.0, 1.0], -4.5, [2.0, 4.5], 0.5233448360104926),
    problem("powell-singular", powell_singular, powell_singular_gradient,
            [3.0, -1.0, 0.0, 1.0] * 2, -5.0, 5.0, 0.0),
    problem("styblinski-tang", styblinski_tang, styblinski_tang_gradient, -1.0, -5.0, 5.0,
            5 * float(styblinski_tang(torch.tensor([STYBLINSKI_TANG]).double())), n=5),
    problem("dixon-price", dixon_price, dixon_price_gradient, 1.0, -10.0, 10.0, (0.0, 2 / 3), n=6),
    problem("trid", trid, trid_gradient, 0.0, -36.0, 36.0, -50.0, n=6),
)  # fmt: skip

BOX_QPS = tuple(
    box_qp(n, condition=condition, seed=seed)
    for seed, (n, condition) in enumerate([(3, 10.0), (8, 1e2), (20, 1e1), (20, 1e4), (60, 1e3)])
)

CORNERS = (
    linear("linear", [1.0, -2.0, 0.5], 0.3, 0.0, 1.0),
    linear("linear-from-the-corner", [1.0, 1.0], 0.0, 0.0, 1.0),
    weighted_distance("zero-multipliers", torch.ones(4), torch.zeros(4), 1.0, 0.0, 2.0),
    weighted_distance("far-outside", torch.tensor([1.0, 4.0, 9.0]), torch.full((3,), 5.0), -7.0, 0.0, 1.0),
    problem("some-fixed", rosenbrock, rosenbrock_gradient, 0.0,
            [1.0, -2.0, -2.0, 1.0], [1.0, 2.0, 2.0, 1.0], 0.0, n=4),
    problem("all-fixed", rosenbrock, rosenbrock_gradient, 0.0, 0.5, 0.5, 0.25 + 100 * 0.25**2,
            n=2, smooth=False),
    problem("one-variable", quartic, quartic_gradient, [0.0], 0.0, 1.0, 1.0, minimiser=vector(1.0, 1)),
    problem("one-variable-cosine", cosine, cosine_gradient, [1.0], 0.0, 5.0, -1.0,
            minimiser=vector(math.pi, 1)),
    problem("half-open", quartic, quartic_gradient, 0.0, [-INF, -INF, 3.0], [INF, 1.0, INF], 2.0, n=3),
)  # fmt: skip

BARRIERS = (
    problem("log-barrier", log_barrier, log_barrier_gradient, 0.01, -INF, INF, 5.0, n=5,
            minimiser=vector(1.0, 5), smooth=False),
    problem("log-barrier-bounded", log_barrier, log_barrier_gradient, 0.01, 0.0, [0.5, INF],
            1.5 + math.log(2), minimiser=vector([0.5, 1.0], 2), n=2, smooth=False),
)  # fmt: skip

SCALES = (
    weighted_distance("tiny-scale", torch.tensor([1e-8, 2e-8]), torch.tensor([1.0, 2.0]), 0.0, 0.0, 1.5,
                      options={"gtol": 1e-14, "ftol": 0.0}),
    weighted_distance("huge-scale", torch.logspace(0, 8, 5), torch.linspace(-2, 2, 5), 0.5, -1.0, 1.0),
)  # fmt: skip

LARGE = weighted_distance(
    "large", torch.linspace(1, 100, 100_000), torch.linspace(-2, 2, 100_000), 0.0, -1.0, 1.5
)

SMALL = DRIVERS + ROSENBROCKS + CLASSICS + BOX_QPS + CORNERS + BARRIERS + SCALES
PROBLEMS = (*SMALL, LARGE)


def named(name: str) -> Problem:
    return next(one for one in PROBLEMS if one.name == name)
