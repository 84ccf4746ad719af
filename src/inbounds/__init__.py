"""Bound-constrained optimisation for PyTorch, and mel spectrograms inverted to the optimum."""

from inbounds.nnls.kkt import kkt_residual
from inbounds.nnls.lsq_linear import lsq_linear
from inbounds.nnls.nnls import nnls
from inbounds.optim.minimize import minimize
from inbounds.optim.optimizer import LBFGSB
from inbounds.optim.result import OptimizeResult
from inbounds.optim.scipy_hook import scipy_method

__version__ = "0.1.0.dev0"

__all__ = [
    "LBFGSB",
    "OptimizeResult",
    "__version__",
    "kkt_residual",
    "lsq_linear",
    "minimize",
    "nnls",
    "scipy_method",
]
