"""The device of a chapter is what its framework says, and is asked only where there is a GPU."""

import subprocess

import pytest

import build
import devices
import notebooks

ELBO = next(path for path in notebooks.in_order() if path.stem == "elbo")


@pytest.fixture
def gpu(monkeypatch):
    """A function that lets frameworks say which GPU they use."""
    def say(**named):
        monkeypatch.setattr(devices, "gpu_of", named.get)
    return say


def test_without_a_driver_no_framework_is_asked(monkeypatch):
    monkeypatch.setattr(devices, "gpu_driver", lambda: False)
    monkeypatch.setattr(subprocess, "run", lambda *args, **settings: pytest.fail("asked"))
    devices.gpu_of.cache_clear()
    assert devices.gpu_of("torch") is None


def test_a_framework_is_asked_once(monkeypatch):
    calls = []

    def run(command, **settings):
        calls.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="noise\nGPU NVIDIA H200\n")

    monkeypatch.setattr(devices, "gpu_driver", lambda: True)
    monkeypatch.setattr(subprocess, "run", run)
    devices.gpu_of.cache_clear()
    assert [devices.gpu_of("torch"), devices.gpu_of("torch")] == ["NVIDIA H200"] * 2
    assert len(calls) == 1
    devices.gpu_of.cache_clear()


def test_a_chapter_has_the_gpu_of_its_own_framework(gpu, monkeypatch):
    gpu(torch="A", tensorflow="B")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert devices.device_of({"numpy"}) == "CPU"
    assert devices.device_of({"numpy", "torch"}) == "CPU and A"
    assert devices.device_of({"keras"}) == "CPU and B"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert devices.device_of({"keras"}) == "CPU and A"


def test_on_another_device_a_chapter_is_executed_again(gpu, monkeypatch):
    gpu()
    before = build.fingerprints([ELBO])
    monkeypatch.setattr(devices, "device_of", lambda used: "CPU and A")
    assert build.fingerprints([ELBO]) != before
