"""CPU kernels, compiled by Numba; imported only when first needed."""
