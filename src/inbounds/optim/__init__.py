"""Bound-constrained minimisation: L-BFGS-B, batched."""
