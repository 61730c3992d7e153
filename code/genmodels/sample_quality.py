"""How good are images that a model makes? Two measures of features, those of a classifier.

    Fréchet distance  |μ_1 − μ_2|² + tr(Σ_1 + Σ_2 − 2 (Σ_1 Σ_2)^½)   of two sets of features
    precision         the share of made images within the set of the real ones
    recall            the share of real images within the set of the made ones

The distance is the squared 2-Wasserstein distance of two Gaussians that have the mean and the
covariance of the features, a number without unit that depends on the features: it compares models
measured with the same classifier (`models.classifier_torch`) and the same number of images, and
nothing else.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from genmodels.validate import Array, check_positive_int, finite_array

__all__ = ["frechet_distance", "precision_and_recall"]


def frechet_distance(features: ArrayLike, others: ArrayLike) -> float:
    """The Fréchet distance of two sets of features (n, k) and (m, k), n and m above k.

    Estimated from n images it is on average too large, by a term of order 1/n for a given k:
    compare equal numbers.
    Source: Dowson and Landau (1982); Heusel et al. (2017).
    Raises TypeError or ValueError if one is not finite numbers of shape (n, k), or n ≤ k.
    """
    features, others = _features("features", features), _features("others", others)
    if others.shape[1] != features.shape[1]:
        raise ValueError(f"others must have shape (m, {features.shape[1]}), got {others.shape}")
    for name, points in (("features", features), ("others", others)):
        if len(points) <= points.shape[1]:
            raise ValueError(f"{name} must have more rows than its {points.shape[1]} columns, "
                             f"got {len(points)}")
    means = features.mean(axis=0), others.mean(axis=0)
    # With Σ = RᵀR, the part of the covariances is the smallest ‖R_1 − U R_2‖² of all orthogonal U,
    # and U = W Vᵀ is the best for R_1 R_2ᵀ = W S Vᵀ. A sum of squares does not become negative.
    root, other_root = (np.linalg.qr((f - mean) / np.sqrt(len(f) - 1), mode="r")
                        for f, mean in zip((features, others), means))  # (k, k) each
    left, _, right = np.linalg.svd(root @ other_root.T)
    return float(np.sum((means[0] - means[1]) ** 2)
                 + np.sum((root - left @ right @ other_root) ** 2))


def precision_and_recall(real: ArrayLike, made: ArrayLike,
                         num_neighbours: int = 3) -> tuple[float, float]:
    """Precision and recall of made against real features, (n, k) and (m, k).

    A point lies within a set if it is no farther from one of its members than that member from its
    `num_neighbours`-th nearest fellow. Source: Kynkäänniemi et al. (2019).
    Raises TypeError or ValueError if one is not finite numbers of shape (n, k), or has no more
    than num_neighbours members, or num_neighbours is not a positive integer.
    """
    check_positive_int(num_neighbours, "num_neighbours")
    real, made = _features("real", real), _features("made", made)
    if made.shape[1] != real.shape[1]:
        raise ValueError(f"made must have shape (m, {real.shape[1]}), got {made.shape}")
    for name, points in (("real", real), ("made", made)):
        if len(points) <= num_neighbours:
            raise ValueError(f"{name} must have more members than num_neighbours, "
                             f"{num_neighbours}, got {len(points)}")

    def radii(points):  # the 0th nearest of each point is itself
        return np.partition(cdist(points, points), num_neighbours, axis=1)[:, num_neighbours]

    distances = cdist(real, made)  # (n, m)
    precision = np.mean(np.any(distances <= radii(real)[:, None], axis=0))
    recall = np.mean(np.any(distances <= radii(made)[None, :], axis=1))
    return float(precision), float(recall)


def _features(name: str, value: ArrayLike) -> Array:
    value = finite_array(name, value)
    if value.ndim != 2 or value.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, k), got {value.shape}")
    return value
