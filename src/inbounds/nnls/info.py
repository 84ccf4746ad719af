"""What a solve reports of itself, per right-hand side."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor


class Info(NamedTuple):
    """Returned beside x with full_output=True; every field is shaped like b without its row dimension.

    Fields:
        residual_norm: ‖Ax - b‖₂.
        kkt: the certificate of `inbounds.kkt_residual`, recomputed from x: 0 at an optimum.
        nit: iterations taken.
        converged: the solver's own stopping test was met.
    """

    residual_norm: Float[Tensor, "*columns"]
    kkt: Float[Tensor, "*columns"]
    nit: Int[Tensor, "*columns"]
    converged: Bool[Tensor, "*columns"]
