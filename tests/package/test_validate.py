"""The checks of what a user passes in, each where it lives.

Those of images, `check_examples`, are tested in test_datasets.py as `check_images`.
"""

import numpy as np
import pytest

from genmodels.validate import (
    check_positive_int,
    check_seed,
    check_shape,
    check_share,
    finite_array,
)


@pytest.mark.parametrize(("value", "message"), [
    (["a", "b"], "x must hold real numbers, got <U1"),
    ([1 + 2j, 0], "x must hold real numbers, got complex128"),
    ([True, False], "x must hold real numbers, got bool"),
    (None, "x must hold real numbers, got object"),
    ([[1.0, 2.0], [3.0]], "x must be an array, got rows that differ in length"),
])
def test_what_is_not_an_array_of_real_numbers_is_a_type_error(value, message):
    with pytest.raises(TypeError, match=message):
        finite_array("x", value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="x must be finite, got NaN or infinity"):
        finite_array("x", [0.0, bad])


@pytest.mark.parametrize("value", [0.0, np.zeros(3), np.zeros((2, 3))])
def test_shapes_of_arrays(value):
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 2\), got \("):
        finite_array("x", value, last=2)
    with pytest.raises(ValueError, match=r"x must have shape \(2,\), got \("):
        finite_array("x", value, shape=(2,))


def test_masked_numbers_are_refused():
    for masked in (np.ma.masked_equal([1.0, -99.0], -99.0), np.ma.masked_invalid([1.0, np.nan])):
        with pytest.raises(ValueError, match="x must hold no masked numbers"):
            finite_array("x", masked)
    np.testing.assert_array_equal(finite_array("x", np.ma.masked_equal([1.0, 2.0], -99.0)), [1, 2])


@pytest.mark.parametrize(("check", "message", "wrong"), [
    (lambda value: check_positive_int(value, "n"), "n must be a positive integer", 0),
    (check_seed, "seed must be a non-negative integer", -1),
    (lambda value: check_share(value, "n"), "n must be a number between 0 and 1", 1.5),
    (check_shape, "shape must be two multiples|each size in shape must be", (4, -4)),
])
def test_numbers_are_refused_by_type_and_by_value(check, message, wrong):
    with pytest.raises(ValueError, match=f"({message}).*, got"):
        check(wrong)
    for value in ("1", None, True):
        with pytest.raises(TypeError, match=r"must be .*, got"):
            check(value)
