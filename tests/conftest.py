"""Settings for all tests: no window for figures, and one line less from TensorFlow."""

import os

import matplotlib

# An environment variable would reach the kernels of the notebooks too, which draw inline.
matplotlib.use("Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only, before TensorFlow is imported
