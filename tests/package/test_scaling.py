"""The model of what several GPUs would give: its formula, what it counts, and the page's tables."""

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "chapters" / "appendix" / "devices.md"


@pytest.fixture(scope="module")
def scaling():
    """benchmarks/scaling.py as a module."""
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "benchmarks" / "scaling.py")
    sys.modules["scaling"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["scaling"]


@pytest.fixture(scope="module")
def models(scaling):
    return scaling.models()


def ring(arrays):
    """Adds up arrays in a ring, in place; returns the pieces that each process sends.

    First every piece goes round and collects a sum, then every sum goes round. A process sends one
    piece at a time to its right-hand neighbour.
    """
    n = len(arrays)
    pieces = [np.array_split(array, n) for array in arrays]  # views
    sent = [[] for _ in arrays]
    for turn in range(2 * (n - 1)):
        moving = [(rank, (rank - turn) % n) for rank in range(n)]
        copies = [pieces[rank][piece].copy() for rank, piece in moving]
        for (rank, piece), copy in zip(moving, copies):
            sent[rank].append(copy.nbytes)
            receiver = pieces[(rank + 1) % n][piece]
            receiver[:] = receiver + copy if turn < n - 1 else copy
    return sent


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_ring_sends_what_the_formula_says(n, scaling):
    arrays = [np.arange(60.0) * rank for rank in range(n)]
    total = sum(arrays)
    sent = ring(arrays)
    for array in arrays:
        np.testing.assert_array_equal(array, total)  # integers: no rounding
    cluster = scaling.Cluster(num_per_node=5, rate_in_node=1.0, latency_in_node=0.0)
    assert {sum(each) for each in sent} == {cluster.all_reduce(total.nbytes, n)}
    cluster = scaling.Cluster(num_per_node=5, rate_in_node=np.inf, latency_in_node=1.0)
    assert {len(each) for each in sent} == {cluster.all_reduce(total.nbytes, n)}


def test_limits_of_the_efficiency(scaling):
    """One where only the examples take time, 1/N where they take none; the network is slower."""
    only_examples = scaling.Cluster(start=0.0, memory_rate=np.inf, rate_in_node=np.inf,
                                    latency_in_node=0.0)
    no_examples = scaling.Cluster(product_rate=np.inf, rate_in_node=np.inf, latency_in_node=0.0)
    model = scaling.Model("any", 1000, 1000, 10)
    for n in (1, 2, 4):
        assert only_examples.efficiency(model, n) == pytest.approx(1, rel=1e-12)
        assert only_examples.efficiency(model, n, growing=True) == pytest.approx(1, rel=1e-12)
        assert no_examples.efficiency(model, n) == pytest.approx(1 / n, rel=1e-12)
        assert no_examples.efficiency(model, n, growing=True) == pytest.approx(1, rel=1e-12)
    cluster = scaling.Cluster()
    assert cluster.all_reduce(1e6, 5) > 5 * cluster.all_reduce(1e6, 4)  # 104 and 15 µs
    assert scaling.first_below_half(lambda n: 1 / n) == "3"
    assert scaling.first_below_half(lambda n: 0.5) == "over 64"


def test_operations_of_the_vae_are_those_of_its_layers(models):
    """Two for each weight of a matrix and each of three products; the first layer's input has no
    gradient."""
    layers = [784 * 512, 512 * 512, 2 * 512 * 8, 8 * 512, 512 * 784]
    assert models[0].flops == 2 * (3 * sum(layers) - layers[0])
    assert models[0].weights == sum(layers) + 512 + 512 + 2 * 8 + 512 + 784


def test_the_larger_model_is_ten_times_larger(models):
    _, unet, larger = models
    assert larger.weights / unet.weights == pytest.approx(10, rel=0.05)  # channels in eights
    assert larger.flops / unet.flops == pytest.approx(10, rel=0.05)
    assert larger.operations == unet.operations


def test_the_page_has_what_the_program_prints(scaling, models):
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    torch = importlib.metadata.version("torch").split("+")[0]
    if f"torch=={torch}" not in pins:
        pytest.skip(f"operations are counted with the pinned PyTorch, not with {torch}")
    cluster = scaling.Cluster()
    page = PAGE.read_text(encoding="utf-8")
    for table in (scaling.costs(models, cluster), scaling.efficiencies(models, cluster)):
        assert "\n".join(table) in page


@pytest.mark.parametrize(("head", "num_rows"), [
    ("| precision | processes", 6), ("| model | whole batch", 2), ("| processes | s ", 3)])
def test_the_page_quotes_what_was_measured(head, num_rows):
    found = (ROOT / "benchmarks" / "results" / "processes.md").read_text(encoding="utf-8")
    table = found[found.index(head):].split("\n\n")[0].rstrip()
    assert len(table.splitlines()) == 2 + num_rows
    assert table in PAGE.read_text(encoding="utf-8")
