"""Compiled kernels of the audio half."""
