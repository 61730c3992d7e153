"""Small models, exact where possible, that the chapters of the course import.

On Linux PyTorch with CUDA brings Triton, and loads it with the first optimiser. TensorFlow 2.20 and
2.21 show their copy of LLVM to all libraries: a Triton that is loaded later takes it for its own,
and the process ends. So Triton is loaded here, before TensorFlow. Where that is there already,
Triton is hidden from PyTorch, which needs it for `torch.compile` on a GPU alone.
https://github.com/tensorflow/tensorflow/issues/124205
"""

import contextlib
import importlib.util
import sys

__all__: list[str] = []  # nothing of its own: import its modules

if "tensorflow" not in sys.modules:
    with contextlib.suppress(ImportError):  # elsewhere there is none
        if importlib.util.find_spec("tensorflow"):
            import triton  # noqa: F401
elif "tensorflow.python.pywrap_dlopen_global_flags" in sys.modules:  # not in other versions
    sys.modules.setdefault("triton", None)
