"""On which device a chapter was executed: the processor, or also a GPU that its framework uses.

The build asks when it decides what to execute, and executes a chapter again when the answer has
changed; so what it shows is what the stored outputs were made on.
"""

import ctypes
import functools
import os
import platform
import subprocess
import sys

__all__ = ["device_of", "gpu_driver", "gpu_of"]

CPU = "CPU"
# Each prints a line that begins with GPU for a GPU that the framework can use.
ASK_TORCH = """\
import torch
if torch.cuda.is_available():
    print("GPU", torch.cuda.get_device_name(0))
elif torch.accelerator.is_available():
    print("GPU", torch.accelerator.current_accelerator().type)
"""
ASK_TENSORFLOW = """\
import tensorflow as tf
for gpu in tf.config.list_physical_devices("GPU"):
    print("GPU", tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
"""
ASK_JAX = """\
import jax
for device in jax.devices():
    if device.platform != "cpu":
        print("GPU", device.device_kind)
"""
ASK = {"torch": ASK_TORCH, "tensorflow": ASK_TENSORFLOW, "jax": ASK_JAX}


def gpu_driver() -> bool:
    """Return whether there may be a GPU: NVIDIA's or AMD's driver, or a Mac's."""
    if platform.system() == "Darwin":
        return True
    if os.path.exists("/dev/kfd"):
        return True
    name = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return False
    number = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(number)) == 0 and (
        number.value > 0)


@functools.cache
def gpu_of(framework: str) -> str | None:
    """Return the name of the GPU that a framework uses, or None; it is asked only if there is one.

    Args:
        framework: "torch", "tensorflow" or "jax".
    """
    if not gpu_driver():
        return None
    asked = subprocess.run([sys.executable, "-c", ASK[framework]], check=False, text=True,
                           capture_output=True)
    named = [line.removeprefix("GPU ") for line in asked.stdout.splitlines()
             if line.startswith("GPU ")]
    return named[0].strip() if named else None


def device_of(distributions: set[str]) -> str:
    """Return the device of a chapter that uses some distributions, as "CPU and NVIDIA H200"."""
    used = set(distributions)
    if "keras" in used:
        used.add(os.environ.get("KERAS_BACKEND") or "tensorflow")
    gpus = {gpu for framework in ASK if framework in used and (gpu := gpu_of(framework))}
    return " and ".join([CPU, *sorted(gpus)])
