"""The linear-Gaussian model and the data point with which the chapter on the ELBO begins."""

import numpy as np

from genmodels.exact.linear_gaussian import LinearGaussian

__all__ = ["data"]


def data() -> dict:
    """Return the model, x, its posterior and log p(x): those of the chapter's first cell."""
    rng = np.random.default_rng(0)
    model = LinearGaussian(rng.normal(size=(3, 2)), bias=rng.normal(size=3), noise_std=0.7)
    x = model.sample(1, rng)[0][0]
    mean, cov = model.posterior(x)
    return {"weights": model.weights, "bias": model.bias, "noise_std": model.noise_std, "x": x,
            "posterior_mean": mean, "posterior_cov": cov, "log_evidence": model.log_evidence(x)}
