"""Settings for all tests: no window for figures, and one line less from TensorFlow."""

import contextlib
import os
import sys
import types
from pathlib import Path

import matplotlib
import pytest

# An environment variable would reach the kernels of the notebooks too, which draw inline.
matplotlib.use("Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only, before TensorFlow is imported
# Nearly all of JAX's time is the compiler's, and each new model is compiled again, though it
# computes what another did. What was compiled is kept, also what took less than a second.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / "_build/jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

if sys.flags.optimize:
    raise pytest.UsageError("PYTHONOPTIMIZE removes the asserts of chapters and tests: unset it")


def is_of_torch_alone(value) -> bool:
    """Whether a parameter of a test is a module such as vae_torch, or begins with one."""
    module = value[0] if isinstance(value, tuple) and value else value
    return isinstance(module, types.ModuleType) and module.__name__.endswith("_torch")


def pytest_collection_modifyitems(config, items):
    """With Keras on PyTorch or JAX, leaves out what is tested beside TensorFlow: our PyTorch.

    A test is one of PyTorch alone if its parameters name a module of PyTorch and none of Keras.
    """
    if os.environ.get("KERAS_BACKEND") not in ("torch", "jax"):
        return
    alone = [item for item in items if hasattr(item, "callspec")
             and any(map(is_of_torch_alone, item.callspec.params.values()))]
    config.hook.pytest_deselected(items=alone)
    items[:] = [item for item in items if item not in alone]


@pytest.fixture(scope="module", autouse=True)
def compiled_for_this_module():
    """JAX keeps all that it compiled, gigabytes in the end: after a module it forgets it."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture(scope="session")
def float64():
    """A context in which Keras has float64: JAX makes float32 of it unless told to keep it."""
    @contextlib.contextmanager
    def kept():
        if os.environ.get("KERAS_BACKEND") != "jax":
            yield
            return
        import jax

        jax.config.update("jax_enable_x64", True)
        try:
            yield
        finally:  # or each test after one that fails would have it
            jax.config.update("jax_enable_x64", False)

    return kept
