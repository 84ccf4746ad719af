"""Mel spectrograms inverted to the optimum, and played back."""
