"""Arrays that go to a device together are there as if each had gone alone."""

import numpy as np
import torch

from genmodels.training.packing import place_together


def placed(arrays):
    """What is placed, and how many arrays went there."""
    seen = []

    def place(array):
        seen.append(array)
        return torch.as_tensor(array).clone()

    return place_together(arrays, place, torch.reshape), len(seen)


def test_each_array_keeps_shape_and_numbers_in_two_copies():
    rng = np.random.default_rng(0)
    arrays = [rng.permutation(5), rng.standard_normal((5, 2, 3), dtype=np.float32),
              np.arange(5) % 2, rng.random(5, dtype=np.float32), rng.random((5, 1)) < 0.5]
    tensors, copies = placed(arrays)
    assert copies == 2
    for array, tensor in zip(arrays, tensors, strict=True):
        np.testing.assert_array_equal(np.asarray(tensor), array)


def test_integers_of_unlike_types_stay_integers():
    large = 2**53 + 1  # no float64
    tensors, _ = placed([np.array([large]), np.array([7], np.uint64)])
    assert [int(tensor[0]) for tensor in tensors] == [large, 7]


def test_one_of_a_kind_goes_as_it_is_and_so_does_a_tensor():
    rng = np.random.default_rng(0)
    arrays = [rng.permutation(5), rng.random((5, 4)), torch.ones(5, 2)]
    tensors, copies = placed(arrays)
    assert copies == 3
    assert all(np.array_equal(tensor, array) for tensor, array in zip(tensors, arrays))
    assert tensors[2] is not arrays[2]  # a copy, too
    assert placed([]) == ([], 0)
