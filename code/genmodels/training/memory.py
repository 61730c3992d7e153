"""Too little memory on a device: the error names the setting to lower. No framework here."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["is_out_of_memory", "memory_grows_with"]

# Exceptions of PyTorch and TensorFlow, and what other exceptions say: JAX's, which has one for all
# faults, those of CUDA's libraries, and PyTorch's of a CPU. Keras puts some into a RuntimeError.
NAMES = ("OutOfMemoryError", "ResourceExhaustedError")
SIGNS = ("resource_exhausted", "out of memory", "can't allocate memory", "status_alloc_failed")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether a framework says that a device has not the memory it would need."""
    said = str(error).lower()
    return type(error).__name__ in NAMES or (
        isinstance(error, RuntimeError) and any(sign in said for sign in SIGNS))


@contextmanager
def memory_grows_with(*settings: str) -> Iterator[None]:
    """Within it, or in a function that it decorates, memory that runs out names these settings.

    Raises MemoryError from the framework's exception; the innermost of several names its settings.
    """
    try:
        yield
    except Exception as error:
        named = isinstance(error, MemoryError) and is_out_of_memory(error.__cause__)
        if not (named or is_out_of_memory(error)):
            raise
        # Tensors would stay on the device for as long as an error that a notebook keeps has them.
        traceback.clear_frames(error.__traceback__)
        if named:
            raise
        said = " ".join(str(error).split())
        raise MemoryError(f"{' or '.join(settings)} must be lower, since the memory of the device "
                          f"does not suffice: {said}") from error
