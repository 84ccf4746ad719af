"""Bound-constrained optimisation for PyTorch, and mel spectrograms inverted to the optimum."""

__version__ = "0.1.0.dev0"

__all__ = [
    "__version__",
]
