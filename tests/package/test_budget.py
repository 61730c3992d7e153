"""The amount of computation is chosen by one environment variable."""

import pytest

from genmodels.budget import budget


@pytest.mark.parametrize(
    ("held", "expected"), [("quick", 1), ("laptop", 2), ("full", 3), (None, 2), ("", 2)])
def test_budget_returns_what_the_variable_names(monkeypatch, held, expected):
    if held is None:
        monkeypatch.delenv("GENMODELS_BUDGET", raising=False)
    else:
        monkeypatch.setenv("GENMODELS_BUDGET", held)
    assert budget(quick=1, laptop=2, full=3) == expected


@pytest.mark.parametrize("held", ["huge", "Quick", " full"])
def test_unknown_budget_lists_the_three(monkeypatch, held):
    monkeypatch.setenv("GENMODELS_BUDGET", held)
    message = f"GENMODELS_BUDGET must be one of quick, laptop, full, got '{held}'"
    with pytest.raises(ValueError, match=message):
        budget(quick=1, laptop=2, full=3)
