"""Models of which everything is known: densities, posteriors, gradients (NumPy, float64)."""

__all__: list[str] = []  # nothing of its own: import its modules
