"""Settings for all tests: no window for figures, and one line less from TensorFlow."""

import os
import sys

import matplotlib
import pytest

# An environment variable would reach the kernels of the notebooks too, which draw inline.
matplotlib.use("Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only, before TensorFlow is imported

if sys.flags.optimize:
    raise pytest.UsageError("PYTHONOPTIMIZE removes the asserts of chapters and tests: unset it")
