"""What the dense solver needs of a machine: four small solvers, in two makes.

Every array has one row per right-hand side; row c belongs to matrix c // (rows / g).
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

Solved = tuple[Float[Tensor, "c n"], Int[Tensor, " c"]]


class Engine(NamedTuple):
    """`compiled` for the CPU, `tensorial` for other devices; each is the other's oracle.

    All return a point inside the bounds and iterations, negative where the row came to no end.

    Fields:
        pivot(G, H, w, low, high, tolerance, rows): the step d of min ½ dᵀG d - wᵀd in the box, G = H⁻¹ and
            well conditioned, for the named rows; zero elsewhere.
        descend(A, b, low, high, scale, rows): min ‖A y - b‖ in the box for any A with unit columns, until
            gradients are rounding beside `scale`. Third, the number of independent columns among the
            variables that are strictly inside the box.
        nearest(A, weight, prior, p, steps, low, high, rows): the y in the box with A y = p that minimises
            Σ (y - prior)² / weight, if there is one. Fast, but may come to no end.
        project(R, weight, prior, y, low, high, rows): the z in the box with R z = R y that minimises
            Σ (z - prior)² / weight, from a y in the box. Sure.
    """

    pivot: Callable[..., Solved]
    descend: Callable[..., tuple[Float[Tensor, "c n"], Int[Tensor, " c"], Int[Tensor, " c"]]]
    nearest: Callable[..., Solved]
    project: Callable[..., Solved]
