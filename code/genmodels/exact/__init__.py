"""Models of which everything is known: densities, posteriors, gradients (NumPy, float64)."""
