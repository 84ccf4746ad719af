"""Bound-constrained optimisation for PyTorch, and mel spectrograms inverted to the optimum."""

from inbounds.nnls.kkt import kkt_residual

__version__ = "0.1.0.dev0"

__all__ = [
    "__version__",
    "kkt_residual",
]
