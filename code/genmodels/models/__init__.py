"""Networks in PyTorch and Keras, their losses, trained weights, and conversion between the two."""
