"""Least squares with bounds, solved exactly."""
