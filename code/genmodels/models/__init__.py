"""Networks in PyTorch and Keras, their losses, trained weights, and conversion between the two."""

__all__: list[str] = []  # nothing of its own: import its modules
