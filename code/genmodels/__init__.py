"""Small models, exact where possible, that the chapters of the course import.

On Linux PyTorch with CUDA brings Triton, and loads it with the first optimiser. If TensorFlow was
loaded before, this ends the process, since both have a copy of LLVM. So Triton is loaded here, or,
where TensorFlow is there already, hidden from PyTorch, which needs it for `torch.compile` alone.
"""

import contextlib
import sys

__all__: list[str] = []  # nothing of its own: import its modules

if "tensorflow" not in sys.modules:
    with contextlib.suppress(ImportError):  # elsewhere there is none
        import triton  # noqa: F401
elif "triton" not in sys.modules:
    sys.modules["triton"] = None
