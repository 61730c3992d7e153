"""The Ising lattice in the page: its numbers are the package's, and a reader can move it."""

import re

import numpy as np
import pytest
from scipy.stats import sem

from genmodels.exact import ising, lattice
from live import ising_page
from sfc32 import Sfc32

PAGE = "chapters/physics/boltzmann.html"
FIGURE = '[data-live="ising_page"]'
OBSERVABLES = {"m": "M", "absM": "abs_M", "chi": "chi", "binder": "U_L", "energy": "density"}


def state(figure):
    found = figure.locator(".live-box").evaluate("box => box.liveState()")
    return found | {"spins": np.array(found["spins"], np.int8).reshape(ising_page.SIZE, -1)}


def heat(figure, temperature):
    figure.get_by_role("slider").evaluate("(input, T) => input.move(T)", temperature)


def press(figure, name, times=1):
    button = figure.get_by_role("button", name=name, exact=True)
    button.evaluate("(button, n) => { for (let i = 0; i < n; i++) button.click(); }", times)


def run_until(page, figure, num_sweeps):
    press(figure, "Run")
    box = f"document.querySelector('{FIGURE} .live-box')"
    page.wait_for_function(f"{box}.liveState().sweeps >= {num_sweeps}", timeout=120_000)
    press(figure, "Pause")
    return state(figure)


def test_the_exact_energies_are_those_of_the_package():
    given = ising_page.data()
    temperatures = np.linspace(given["first"], given["last"], len(given["energies"]))
    exact = [ising.energy(given["size"], T) for T in temperatures]
    assert np.allclose(given["energies"], exact, rtol=1e-12)
    assert np.allclose(np.diff(temperatures), given["step"])


def test_the_still_picture_is_what_the_page_starts_with(figure):
    text = ising_page.FIGURE.read_text(encoding="utf-8")
    cell = 256 / ising_page.SIZE
    corners = re.findall(r"M([\d.]+) ([\d.]+)h", re.search(r'class="up" d="([^"]+)"', text)[1])
    up = np.zeros((ising_page.SIZE, ising_page.SIZE), bool)
    for x, y in corners:
        up[round(float(y) / cell), round(float(x) / cell)] = True
    found = state(figure)
    assert np.array_equal(up, found["spins"] > 0) and 0 < up.mean() < 1
    assert f"T = {found['temperature']}" in text and found["running"] == 0


def test_its_sweeps_averages_and_errors_are_those_of_the_package(figure):
    random, spins = Sfc32(ising_page.SEED), np.ones((ising_page.SIZE, ising_page.SIZE), np.int8)
    left_out = ising_page.NUM_LEFT_OUT
    ising_page.sweep("clusters", spins, ising_page.START, left_out, random)
    for algorithm, T, num_left, num in (("clusters", ising_page.START, 0, 80),
                                        ("metropolis", 2.5, 200, 20)):
        if algorithm == "metropolis":
            figure.get_by_label("updates").select_option("metropolis")
            heat(figure, T)
        press(figure, "One sweep", num_left + num)
        x = ising_page.sweep(algorithm, spins, T, num_left + num, random)[num_left:]
        found = state(figure)
        assert np.array_equal(found["spins"], x[-1])
        assert found["sweeps"] == num and found["blocks"] * found["blockLength"] == num
        wanted = lattice.observables(x, ising.energies(x), num_blocks=found["blocks"])
        for name, theirs in OBSERVABLES.items():
            assert np.allclose(found[name], wanted[theirs], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("algorithm", "T"), [("clusters", 2.0), ("clusters", 2.27),
                                              ("clusters", 3.0), ("metropolis", 3.0)])
def test_a_long_run_has_the_exact_energy(shared_figure, algorithm, T):
    shared_figure.get_by_label("updates").select_option(algorithm)
    shared_figure.get_by_label("sweeps a picture").select_option("100")
    heat(shared_figure, T)
    found = run_until(shared_figure.page, shared_figure, 20_000)
    energy, error = found["energy"]
    assert abs(energy - ising.energy(ising_page.SIZE, T)) < 4 * error < 0.02
    assert found["exact"] == ising.energy(ising_page.SIZE, T)
    assert found["alarm"] == 0  # both signs were there


def test_the_samples_of_the_network_have_the_exact_energy(figure):
    given = figure.evaluate("() => liveFigures.data.ising_page.model")
    size = given["size"]
    for k, T in enumerate(given["temperatures"]):
        packed = np.array([list(bytes.fromhex(each)) for each in given["samples"][k]], np.uint8)
        bits = np.unpackbits(packed, axis=1)
        energies = ising.energies(2.0 * bits.reshape(-1, size, size) - 1)
        mean, error = figure.locator(".live-box").evaluate("box => box.liveState().meanEnergies")[k]
        assert np.allclose([mean, error], [energies.mean(), sem(energies)], rtol=1e-9)
        assert given["energies"][k] == ising.energy(size, T)
        assert abs(mean - given["energies"][k]) < 4 * error < 0.5
    press(figure, "Next samples")
    assert figure.locator(".live-box").evaluate("box => box.liveState().sample") == 1


def test_the_alarm_rings_where_a_chain_keeps_its_sign(page, figure):
    figure.get_by_label("updates").select_option("metropolis")
    figure.get_by_label("sweeps a picture").select_option("10")
    heat(figure, 1.8)
    found = run_until(page, figure, 500)
    assert found["alarm"] == 1 and abs(found["m"][0]) > 0.9
    assert "Alarm" in figure.get_by_role("alert").inner_text()
    figure.get_by_label("updates").select_option("clusters")  # which turn the whole lattice
    assert state(figure)["alarm"] == 0 and figure.get_by_role("alert").inner_text() == ""
    assert run_until(page, figure, 2000)["alarm"] == 0


def test_by_keyboard_and_its_values_are_announced(page, figure):
    status = figure.locator('[role="status"]')
    figure.get_by_role("button", name="Run").focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(1000)
    status.filter(has_text="Running at T = 2.27").wait_for()
    page.keyboard.press("Space")  # the same button
    assert state(figure)["running"] == 0
    page.keyboard.press("Tab")
    press(figure, "Reset: all up")
    press(figure, "One sweep", ising_page.NUM_LEFT_OUT)
    for _ in range(16):
        page.keyboard.press("Enter")  # one sweep
    found = state(figure)
    assert found["sweeps"] == 16
    status.filter(has_text="after 16 sweeps").wait_for()
    shown = f"{found['energy'][0]:.3f} ± {found['energy'][1]:.3f}".replace("-", "−")
    assert shown in status.inner_text() and shown in figure.get_by_role("table").inner_text()
    for _ in range(3):
        page.keyboard.press("Tab")  # the two resets, the temperature
    page.keyboard.press("ArrowRight")
    assert state(figure)["temperature"] == 2.28 and state(figure)["sweeps"] == 0
    page.keyboard.press("Tab")
    page.keyboard.press("m")  # Metropolis
    assert figure.get_by_label("updates").input_value() == "metropolis"


def test_by_pointer(page, figure):
    figure.get_by_role("button", name="Reset: all up").click()
    assert np.all(state(figure)["spins"] == 1)
    figure.get_by_role("button", name="Reset: random").click()
    assert abs(state(figure)["spins"].mean()) < 0.2
    bar = figure.get_by_role("slider").bounding_box()
    page.mouse.click(bar["x"] + bar["width"] - 2, bar["y"] + bar["height"] / 2)
    assert state(figure)["temperature"] > 3.4


def test_it_is_fast_and_does_not_flash(page, figure):
    figure.get_by_label("updates").select_option("metropolis")
    rates = []
    for _ in range(3):  # the machine may be busy
        first = state(figure)["frames"]
        press(figure, "Run")
        page.wait_for_timeout(2000)
        press(figure, "Pause")
        rates.append((state(figure)["frames"] - first) / 2)
        if rates[-1] > 10:
            break
    print(f"{max(rates):.0f} frames a second")
    assert max(rates) > 10
    figure.get_by_label("updates").select_option("clusters")  # all spins may turn in each sweep
    heat(figure, 1.6)
    first = state(figure)["pictures"]
    press(figure, "Run")
    page.wait_for_timeout(3000)
    press(figure, "Pause")
    assert 1 <= state(figure)["pictures"] - first <= 9  # three a second
