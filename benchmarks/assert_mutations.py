"""Break what the asserts of the chapters guard, one change at a time, and count what they notice.

    python benchmarks/assert_mutations.py [CHAPTER ...]

A chapter runs cell by cell at the `quick` budget. Before each cell that asserts something, forked
copies of the process execute it with one change: a sign, a factor, an exponent, an index, an axis
or a function (`mutations.changes`), in the cell, in a function that the chapter defined before, or
in a function of the package that the cell runs. Asserts do not stop a copy, so that each of them is
judged by itself. A change breaks an assert if it moves what the assert is computed from by more
than 2 % of its size; it is caught if an assert of the cell fails, or the cell raises. A cell that
no longer ends is counted apart.

Prints the counts by chapter, the asserts that no change makes fail, and the changes that break an
assert of equality unnoticed, with the reason why each may be; writes results/assert_mutations.md
when every chapter is run.
"""

import argparse
import ast
import concurrent.futures
import copy
import datetime
import inspect
import json
import os
import pickle
import random
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "benchmarks")]
RESULTS = ROOT / "benchmarks" / "results" / "assert_mutations.md"
MOVED = 0.02  # of the largest value: less than this is no break
MOST = {"cell": 6, "chapter": 3, "package": 6}  # changes of a cell, by where they are
SECONDS = 10.0  # for a changed cell, beside five times what the unchanged one takes
NO_ANSWER = {"outcomes": {}, "values": {}, "error": "no answer in time"}
NO_EFFECT = "without effect on an assert"
STILL_HOLDS = "move an inequality that still holds"
HANGS = "run too long or end the process"
BOTH_SIDES = "change an input of both sides, which still agree"
EQUALITIES = {"isclose", "allclose", "array_equal", "array_almost_equal"}
NOISE = "minus symmetric noise of mean 0 has the same distribution as plus"
SCHEDULE = "holds for every schedule; parameterisations asserts these two at each level"
QUICK = "not at the quick budget"
# Why a change may go unnoticed: (chapter, part of the change) -> reason.
REASONS: dict[tuple[str, str], str] = {
    ("learning_distributions", "unseen[0] == 0 and"): "fails when the coupling is 1.6",
    ("learning_distributions", "best - fraction > 5 *"): "fails when codes of digits are decoded",
    ("kl_divergence", "* np.eye(k)"): "any two Gaussians will do",
    ("kl_divergence", "factor @ factor.T"): "any two Gaussians will do",
    ("kl_divergence", "12 * std0"): "moves the limits of the integral, which stay beyond the peak",
    ("kl_divergence", "cell 23: gaussian."):
        "no term depends on the units, whatever its factor; cells 19 and 21 refuse it",
    ("kl_divergence", "line 2: -1 -> 1"): "the identity holds at any log_var",
    ("kl_divergence", "value.shape == (64,)"): "fails when the sum keeps the axis of k",
    ("kl_divergence", "(at_wide < 0) =="): "fails when wide has the standard deviation 4",
    ("kl_divergence", "np.mean(samples < 0) > 0.05"): "fails when the first mean is 5.5",
    ("kl_divergence", "np.argmin(kl) == np.argmax(log_likelihood)"):
        "follows from the equality before it, which fails first",
    ("kl_divergence", "gaussian_kl(*wide, *narrow) >"): "fails when wide and narrow are exchanged",
    ("kl_divergence", "beyond['wide'] > 0.5"): "fails when wide has the standard deviation 2",
    ("kl_divergence", "min(seeking['right'][2]"): "fails when the weight of the left mode is 0.4",
    ("kl_divergence", "max((std for _, std"): "fails when the first divergence is D[Q‖p], too",
    ("kl_divergence", "left < -1.9"): "fails when two searches start at the left mode",
    ("kl_divergence", "p_at_peak < min(p_at_modes)"): "fails when the modes are at ±1.5",
    ("latent_variables", "3 * rng.standard_normal((1000, 2))"): "Bayes' rule holds at any points",
    ("latent_variables", "cell 17: linear_gaussian.LinearGaussian.posterior: "):
        "moves the limits of the integral, which stay beyond the peak; cell 13 refuses it",
    ("latent_variables", "cell 7: cell, line 11: "): "more is allowed for the noise of the chains",
    ("latent_variables", "width < 0.25"): "fails when the noise has the standard deviation 0.9",
    ("latent_variables", "_log_det(factor) - squared"):
        "all quadratic forms change their sign, on both sides; cell 13 refuses it",
    ("latent_variables", "max(measured) <= 1"): "fails when sem becomes std",
    ("latent_variables", "closed_form >= bound"): "fails for the reversed divergence",
    ("elbo", "np.linalg.eigvalsh(posterior_cov) < 4 / 3"):
        "fails when the encoder's variances are 0.2",
    ("elbo", "* np.eye(k)"): "the identities hold for any Q",
    ("elbo", "9 * post_cov"): "the average is known for any width",
    ("elbo", "cell 20: gaussian.kl_divergence: trace + quadratic - k"):
        "the same constant in both divergences; cell 8 refuses it",
    ("elbo", "gaussian.log_density: 2 * np.pi"):
        "the constants of the components of x stand on both sides; cell 10 refuses it",
    ("elbo", "(model.bias + x) / 2"): "holds for any second decoder that is better",
    ("elbo", "second_mean + np.sqrt"): "the same distance on the other side",
    ("gradients", "gaussian.log_density: 2 * np.pi"):
        "a constant of log p(x) and of the ELBO; in f it leaves the mean of the estimates alone",
    ("gradients", "gaussian.log_density: k * np.log(2 * np.pi)"):
        "a constant of log p(x) and of the ELBO; in f it leaves the mean of the estimates alone",
    ("gradients", "gaussian._log_det: np.sum"):
        "a constant of f leaves the mean of the estimates alone",
    ("gradients", "cell 37: gaussian._log_det: np.log"):
        "a constant of f, the same for both k, moves the noise of both alike",
    ("gradients", "gaussian.log_density: np.log"):
        "a constant of log p(x) and of the ELBO; in f it leaves the mean of the estimates alone",
    ("gradients", "cell 37: cell, line 9: np.log"): "the claim holds for other widths of Q, too",
    ("gradients", "cell 37: cell, line 10: np.mean"): "a factor that the ratio cancels",
    ("gradients", "cell 37: reparameterised_gradients"):
        "the assert looks at (G4) alone; cell 34 refuses it",
    ("gradients", "cell 37: gaussian.log_density: np.sum"):
        "with another f the noise grows, too; cell 28 refuses it",
    ("gradients", "cell 37: linear_gaussian.LinearGaussian.log_likelihood"):
        "with another f the noise grows, too; cell 28 refuses it",
    ("gradients", "cell 38: cell, line 13: index"):
        "the two columns drawn for k = 2 are almost orthogonal: the noise of (G5) is that of k = 1",
    ("gradients", "cell 38: cell, line 19: index"):
        "the claim also holds from half a standard deviation on",
    ("gradients", "learning_rate * (slope - mean).T -> "):
        "the step, not the objective that the cell compares; cell 42 refuses it",
    ("gradients", "cell 40: cell, line 19: np.mean"):
        "a step of log_var 32 times as long, which arrives, too",
    ("gradients", "linear_gaussian.LinearGaussian.elbo_gradients: "):
        "moves the gradient in q_log_var, which cell 25 compares with differences",
    ("gradients", "num_steps // 3: 3 -> 6"): "another start of the mean",
    ("gradients", "elbos['sample'] + 1"): "fails when both runs draw by sample()",
    ("gradients", "found.x[:2], best_mean"): "fails when kl_divergence adds the means",
    ("gradients", "np.exp(found.x[2:]), best_var"): "fails for the posterior's own variances",
    ("gradients", "best_var < np.diag"): "fails for the posterior's own variances",
    ("gradients", "spin_means[couplings < 0.24]"): "fails when a spin has five neighbours",
    ("gradients", "spin_means[couplings > 0.27]"): "fails when a spin has three neighbours",
    ("gradients", "np.max(spin_gaps) < 1"): "fails when a spin has three neighbours",
    ("gradients", "np.abs(states.sum(axis=1)) == 9"): "fails when the couplings end at 0.4",
    ("gradients", "estimates.mean() - elbos.mean()"): "fails when nothing is shuffled",
    ("gradients", "means(in_order"): "fails when the batches are weighted by size",
    ("gradients", "np.abs(of_elbo + of_kl)"): "fails for the gradient that sample() gives",
    ("gradients", "by_shift[:, 2] < by_shift[:, 1]"):
        "fails when (G4) with baseline stands for (G5)",
    ("vae_torch", "num_encoder =="): "fails when there are 500 hidden units",
    ("vae_torch", "num_decoder =="): "fails when the decoder returns 785 numbers",
    ("vae_torch", "constant > 0.9 *"): "fails when the constant is half or twice as large",
    ("vae_torch", "kl_per_dimension.max() > 5 *"): "not at the quick budget",
    ("vae_torch", "change[kl_per_dimension.argmin()]"): "not at the quick budget",
    ("vae_keras", "np.allclose(ours, reference"): "fails when softplus is added",
    ("vae_keras", "history['loss'][-1] <"): "not at the quick budget",
    ("vae_keras", "history['log_likelihood'][-1] >"): "not at the quick budget",
    ("vae_keras", "min(history['kl'])"): "not at the quick budget",
    ("vae_keras", "0.25 < agreement"): "not at the quick budget",
    ("vae_keras", "share.min() > 0.1"): QUICK,
    ("vae_keras", "curved.min() >= 0"): "fails when the images are logits",
    ("vae_keras", "np.mean(flat_error - curved_error)"): "not at the quick budget",
    ("vae_keras", "np.max(larger / smaller)"): "not at the quick budget",
    ("vae_keras", "np.argmax(larger / smaller)"): "not at the quick budget",
    ("two_frameworks", "math.prod(ours.shape)"): "fails when one model has three latent variables",
    ("two_frameworks", "np.array_equal(in_keras, in_torch)"):
        "fails when the kernel is reshaped, not transposed",
    ("two_frameworks", "image.ravel()[order]"): "fails when order is np.arange(8)",
    ("two_frameworks", "np.array_equal(first, last)"): "fails when the second copy is left out",
    ("two_frameworks", "distance[rows] > 30"):
        "a later cell runs it; fails for the digits nearest to a kink",
    ("two_frameworks", "max(*there, *back)"):
        "later cells run it; fails when the weights are not copied",
    ("two_frameworks", "error <= 2 * rounding"): "fails when the threshold is 20",
    ("two_frameworks", "weights[0] > 1e-05"): "fails when both have trained with one ε",
    ("two_frameworks", "fractions[architecture, 'sum']"):
        "fails when the gradients are multiplied by the scale",
    ("two_frameworks", "np.array_equal(in_keras, [2, 4, 6])"):
        "fails when PyTorch's layer pads nothing",
    ("two_frameworks", "equal[-1] > "): QUICK,
    ("two_frameworks", "own[-1] / equal[-1] < "): QUICK,
    ("two_frameworks", "equal_epsilon[name][0, 0] <"): "fails when the two results are exchanged",
    ("two_frameworks", "losses[-1] < weights[-1]"): "fails when losses and weights are exchanged",
    ("two_frameworks", "np.subtract(moved, final['end'])"): "fails when the two are exchanged",
    ("two_frameworks", "0.8 / weight.size"): "a part of the tolerance",
    ("two_frameworks", "apart[0] > 5 and"): "not at the quick budget",
    ("two_frameworks", "worse.mean() > 5"): QUICK,
    ("two_frameworks", "smaller == name.startswith"): "fails when both start from Keras' weights",
    ("two_frameworks", "torch.equal(*in_float32)"): "fails when one of the thresholds is 5",
    ("two_frameworks", "kl.mean -> kl.sum"): "a factor of both frameworks, which are compared",
    ("two_frameworks", "signals['PyTorch']['KL in nats'] < "):
        "fails when both start from Keras' weights",
    ("two_frameworks", "abs(bias - a) <= 0.05 * a"): "fails for the smallest bias",
    ("two_frameworks", "cell 46: vae_torch.VAE.forward"):
        "the ratio of the two KLs stays below its bound; cell 21 refuses it",
    ("two_frameworks", "kls[0] > 1 and kls[1] < 0.01"):
        "not at the quick budget, at which nothing is trained long enough",
    ("two_frameworks", "conversion._keras_weights: index"):
        "leaves out a layer whose weights the cell does not look at; cell 14 refuses it",
    ("collapse", "num_steps < 1000 or "): "not at the quick budget, at which it is true",
    ("collapse", "cost > 3 * error"): "not at the quick budget",
    ("collapse", "not of_a.any() and"): "fails when the column w is not 0",
    ("collapse", "np.all(encoder_alone <= 0)"): "fails when the KL is added",
    ("collapse", "medians[0, name][2] > 0.5"): "fails when the digits are random pixels",
    ("collapse", "medians[50, name][3] > 0"): "not at the quick budget, which has no step 50",
    ("collapse", "gains[name].mean() >"): "not at the quick budget",
    ("collapse", "deaths[name].sum() <= 1"): "not at the quick budget",
    ("collapse", "deaths['small σ'].sum()"): QUICK,
    ("collapse", "max(gains, key="): "not at the quick budget",
    ("collapse", "shares['warm-up'].min()"): "not at the quick budget",
    ("collapse", "shares[name].min() >"): "not at the quick budget",
    ("collapse", "shares['constant'][-1] >"): "not at the quick budget",
    ("collapse", "gains['KL annealing'].mean() <"): QUICK,
    ("elbo", "cell 10: cell, line 1: 0.2 * np.eye"): "the width of the mixture on both sides",
    ("digits", "cell 14: denoising.denoiser"):
        "the same function of the outputs of both networks; the unit tests have it",
    ("digits", "cell 16: denoising.draw_noise"):
        "the same levels on both sides; the unit tests have their range",
    ("digits", "cell 21: denoising.denoiser"):
        "the classifier's answers for one zero at these levels stay; cell 22 refuses it",
    ("digits", "cell 21: to_unit"): "the classifier's answers for one zero stay",
    ("digits", "cell 21: unet_torch"):
        "the classifier's answers for one zero stay; cell 14 refuses another network",
    ("digits", "cell 31: unet_torch"):
        "more steps change less with any network; cell 14 refuses another one",
    ("digits", "np.array_equal(again, rows[1])"): "fails when noise is added to a step",
    ("digits", "max(distances['DDIM, 50 steps']) <"): "fails when VAE and DDIM are exchanged",
    ("digits", "np.sqrt(variance) > 2 / 255"): "fails with 1 / SNR(1)²",
    ("digits", "np.all(recall[0] < recall[1])"): "fails when VAE and DDIM are exchanged",
    ("digits", "precision[0].mean() > precision[1]"): "fails when VAE and DDIM are exchanged",
    ("digits", "told_right[1] >= told_right[0]"): "fails when the blur is 2 pixels wide",
    ("digits", "np.mean(soft_recall) < recall[0]"):
        "fails when the VAE's and the blurred digits' are exchanged",
    ("digits", "grey_share['DDIM, 20 steps'] <"): "fails when VAE and DDIM are exchanged",
    ("digits", "np.ptp(precision[0]) >"): "fails when VAE and DDIM are exchanged",
    ("digits", "lengths['VAE'] < 0.8"): "fails when all lengths are one",
    ("digits", "np.mean(distances['test digits']) <"):
        "fails when the features of the made images are in another order",
    ("linear_vae", "np.abs(distances[-1]).max()"): "fails after 900 steps of ascent",
    ("linear_vae", "num_mlp_steps < 1000 or"): QUICK,
    ("bounds", "np.linalg.eigvalsh("): "fails when cell 2 makes the encoder narrow, 0.5 for 1.3",
    ("bounds", "np.abs(ratios - 1) > 0.1"): "fails when the covariance stays that of the posterior",
    ("bounds", "torch.equal(again, black_or_white)"): "fails for another seed",
    ("bounds", "num_digits < 100 or"): QUICK,
    ("bounds", "distance[name]"): QUICK,
    ("bounds", "(narrowest < 0.5).all()"): "fails for the largest variance of each digit",
    ("bounds", "distance['vae-1']"): QUICK,
    ("bounds", "curve['vae-1'][1] > "): "fails when vae-1 and iwae-50 are exchanged",
    ("bounds", "curve['vae-1'][5000] < "): "fails when vae-1 and iwae-50 are exchanged",
    ("bounds", "cell, line 4: post_cov + distance"): "the law holds on every way to the posterior",
    ("bounds", "cell 23: iwae_torch.BinaryVAE._log_likelihood"):
        "the gradient is that of whatever is summed; cell 21 refuses it",
    ("bounds", "cell 23: vae_torch.VAE._importance"):
        "the gradient is that of whatever is summed; cell 21 refuses it",
    ("bounds", "cell 25: gaussian._log_det"):
        "a constant of log w, which its normalisation cancels",
    ("comparing", "num_digits < 100 or"): QUICK,
    ("comparing", "num_steps < 1000 or"): QUICK,
    ("comparing", "(cost - floor).mean()"): "fails when the entropy is doubled",
    ("comparing", "np.diff(shares) > 0.005"): "fails for the models in reverse order",
    ("comparing", "log_normaliser: safe"): "the order of the figures stays; cell 4 refuses it",
    ("comparing", "cell 28: coverage: axis"): "the error is checked in cell 20, which refuses it",
    ("comparing", "cell 28: gaussian.log_density: whitened"):
        "ranks of the true h are uniform for any function of x and h",
    ("comparing", "- noise @ np.linalg.cholesky(cov).T"):
        "minus normal noise of mean 0 has the same distribution as plus",
    ("comparing", "-last['mean'] > published[name]"):
        "fails when a published figure is 10 nats more",
    ("comparing", "rows[2][-1].mean() > rows[0]"):
        "fails when the first model takes the third's place",
    ("conditional", "right < log_p_y_given_x"):
        "true of every Q, by the equality before it, which fails first",
    ("conditional", "num_steps < 1000 or"): QUICK,
    ("conditional", "num_steps != 1500 or"): QUICK,
    ("conditional", "sharper.mean() > 5"): QUICK,
    ("conditional", "gain.mean() - np.log(10)"): QUICK,
    ("conditional", "learning.mean() > gain"): QUICK,
    ("conditional", "loss.mean() - 5 * sem(loss)"): QUICK,
    ("conditional", "np.all(narrowing > 0)"): "fails when S and C are exchanged",
    ("conditional", "random_gaussian: "): "(B4) and (B5) hold for any Q",
    ("conditional", "gaussian.log_density: -0.5"):
        "a factor of all logarithms on both sides; cell 55 refuses it",
    ("conditional", "gaussian.log_density: k * np.log"):
        "a constant on both sides, or of the energy; cell 55 refuses it",
    ("conditional", "gaussian.log_density: 2 * np.pi"):
        "a constant on both sides; cell 55 refuses it",
    ("conditional", "cell 49: gaussian.log_density: x - mean"):
        "both sides are those at −y; cell 11 refuses it",
    ("conditional", "cell 53: evidence: "):
        "draws another y, for which the shifts agree, too; cell 57 refuses it",
    ("conditional", "cell 53: gaussian._log_det"):
        "a constant of the energy; cell 55 refuses it",
    ("conditional", "cell 57: gauss_hermite"):
        "the weights have another sum, on both sides; cell 55 refuses it",
    ("conditional", "cell 57: gaussian.kl_divergence"):
        "the same whitened matrix in both coordinates; cell 55 refuses it",
    ("conditional", "np.allclose(importance_weighted_bound(again)"):
        "fails when the bounds of the next class are taken",
    ("conditional", "np.allclose(shift_before"): "fails when the push itself is added",
    ("conditional", "cell 25: cell, line 1: index"): "one example more, which is not looked at",
    ("conditional", "log_weights: "):
        "the same weights on both sides; the grid of cell 25 refuses it",
    ("conditional", "cell 41: elbo_terms"): "the identity of the differences holds for any bounds",
    ("conditional", "cell 41: bounds.importance_weighted_bound"):
        "the identity of the differences holds for any bounds",
    ("conditional", ".argmax -> "): QUICK,
    ("conditional", "cell 74: elbo_terms"): QUICK,
    ("conditional", "label_elbo - by_keras"): QUICK,
    ("hierarchical", "diffusion.NoiseSchedule.cosine"): SCHEDULE,
    ("hierarchical", "diffusion.linear_log_alpha_bar"): SCHEDULE,
    ("hierarchical", "noisy[200].mean(axis=0)"): "fails when the added noise has the mean 0.3",
    ("hierarchical", "cell 3: cell, line"): "x_T forgets the data, whatever they are",
    ("hierarchical", "cell 3: diffusion.NoiseSchedule.alpha"):
        "any noise leads to N(0, I); cell 20 refuses it",
    ("hierarchical", "mean + np.sqrt(variance) * rng"): NOISE,
    ("hierarchical", "np.sqrt(1 - alpha) * rng"): NOISE,
    ("hierarchical", "np.sqrt(1 - alpha) * fresh"): NOISE,
    ("hierarchical", "np.euler_gamma / 2 < min("):
        "fails when the uniform schedule stands for the cosine",
    ("hierarchical", "log_p_x - elbo > 5"): "fails for the exact encoder",
    ("hierarchical", "cell 17: cell, line 4"):
        "the law holds in every direction from the posterior",
    ("hierarchical", "cell 18: cell, line 2: eta"): "Jarzynski's equation holds for every encoder",
    ("hierarchical", "cell 18: cell, line 13: index"):
        "a shift of the exponent, which is added again",
    ("hierarchical", "cell, line 1: -1.3"): "(D1) holds for every x_0",
    ("hierarchical", "rulers[1][2]"): "fails when a label is mistyped, 5.46 for 54.6",
    ("hierarchical", "cell 24: "): "moves a mark of the drawing; the assert looks at the labels",
    ("hierarchical", "np.exp(4)"): "fails at the step 10 of the linear schedule",
    ("hierarchical", "cell, line 1: -0.4"): "(D2) holds for every x_t",
    ("hierarchical", "num_steps + 1: 1"): "(D3) holds for every denoiser b",
    ("hierarchical", "decoder_step"):
        "(H1) and (D3) agree for every decoder; cell 50 asserts this one",
    ("hierarchical", "abs(z.mean(axis=1))"): "fails when simulate forgets the root of α",
    ("hierarchical", "abs(z.var(axis=1) - 1)"): "fails when simulate forgets a root",
    ("hierarchical", "at_one[1] == 0 and"): "fails when the step is that from t = 2",
    ("hierarchical", "cell 43: simulate: np.sqrt"):
        "one nat a step, too, when the drift has α for its root; cell 41 refuses it",
    ("hierarchical", "cell 42: cell, line 11: axis"): "the error of the mean grows as much",
    ("hierarchical", "cell 42: standard_normal_kl"):
        "variances do not see a constant; cell 41 refuses it",
    ("hierarchical", "cell 42: both_groupings"): "variances do not see a sign; cell 41 refuses it",
    ("hierarchical", "mixture.GaussianMixture._log_joint"):
        "an additional step costs 1 nat with every smooth denoiser",
    ("hierarchical", "diffusion.NoiseSchedule.num_steps"):
        "a schedule of one step less; cell 20 raises with this change",
    ("hierarchical", "cell 53: gap_shares"):
        "the order 1/T stays; cell 50 asserts the function to rounding",
    ("hierarchical", "each in finest"): "fails at T = 100",
    ("hierarchical", "np.allclose(shares[:, 2], shares[0, 2]"):
        "fails when the linear or the cosine schedule divides by T + 1",
    ("hierarchical", "np.allclose(shares[:, 0], shares[0, 0]"):
        "fails when the first level of the even schedule grows with T",
    ("hierarchical", "np.all(shares[1:, 0] < 0.1"): "fails when r_1 is computed with the last SNR",
    ("hierarchical", "worst < 4.5"):
        "fails when the denoising terms are doubled, or log r in the shares has a factor",
    ("hierarchical", "gaps['uniform'][0] > max("):
        "fails when the steps' shares have the SNR of the other end",
    ("hierarchical", "gaps['linear'][0] < max("):
        "fails when the steps' shares have the SNR of the other end",
    ("hierarchical", "np.array_equal(exact_terms.prior_matching"):
        "fails when elbo_terms computes the prior's term from the estimate of x_0",
    ("hierarchical", "gaussian_data: "): "the changes of the terms hold for all data",
    ("parameterisations", "data.denoiser(np.array([[-1.0], [1.0]]), 0.05)"): "fails at α̅ = 0.95",
    ("parameterisations", "np.abs(elbo / width - 0.5)"): "fails when the weights are doubled",
    ("parameterisations", "cell 10: cell, line 1: -1.0"): "(D4) holds for all data",
    ("parameterisations", "x0 - tweedie -> x0 + tweedie"):
        "within a bin the estimate hardly varies, and the error stays",
    ("parameterisations", "cell 11: cell, line 14: np.sqrt"):
        "still in the wells, where the estimate hardly varies",
    ("parameterisations", "cell 13: cell, line"):
        "the factors hold for every denoiser; cell 26 refuses it",
    ("parameterisations", "mixture.GaussianMixture.sample"): NOISE,
    ("parameterisations", "wrong_denoiser: "):
        "(D5) holds for every denoiser; cell 26 refuses another",
    ("parameterisations", "posterior_moments: 1 - now"):
        "the difference of two means at one x_t does not contain it; hierarchical, 31, asserts it",
    ("parameterisations", "posterior_moments: of_x0 * x0 + of_xt"):
        "the difference of two means at one x_t does not contain it; hierarchical, 31, asserts it",
    ("parameterisations", "mean + np.sqrt(cov) * z_x0"):
        "the nodes of the quadrature are symmetric about 0",
    ("parameterisations", "losses['linear'].var() > 1.3"):
        "fails when the two schedules have one log SNR",
    ("parameterisations", "by_variance == ["):
        "fails when the even levels are those of the cosine schedule",
    ("parameterisations", "cell, line 1: FIRST - 2"): "other ends give other values, too",
    ("parameterisations", "cell 33: squared_error"):
        "moves the sum by less than 5 standard errors; cell 26 asserts the function to rounding",
    ("parameterisations", "cell 33: diffusion.elbo_terms: axis"):
        "the prior's term, at which the cell does not look",
    ("parameterisations", "cell 33: diffusion.elbo_terms: T + 1"):
        "leaves out the last terms, less than a standard error; cell 16 raises with this change",
    ("parameterisations", "np.all(np.diff(first) < 0)"):
        "fails when the ends are minimised for an exact denoiser, or have a wrong sign",
    ("parameterisations", "np.all(of_ends[:, 0] < 0)"): "fails when the denoiser is off by 0.05",
    ("parameterisations", "cell 14: targets: s * noise"):
        "errors of infinite variance have a wide tolerance; cell 10 refuses it",
    ("samplers", "np.abs(slopes[0]) < 1e-09"): "fails when objectives adds the score",
    ("samplers", "magnet[log_snrs < critical - 0.1]"): "fails after 20 steps of the iteration",
    ("samplers", "abs(ode - forward) > 6"): "fails when the SDE stands for the ODE",
    ("samplers", "cost['ode'] < 0.2"): "fails when the calls are not counted from 0",
    ("samplers", "cost['ode'] < 2 * cost"): "fails when langevin takes 10 steps",
    ("samplers", "barriers[2] - barriers[1]"): "within the counting error of the quick budget",
    ("hierarchical", "gaps['uniform'][-1] < np"): "fails when the gaps are not divided by d",
    ("samplers", "cell 2: cell, line 17"): "another mean of the second component",
    ("samplers", "cell 7: mixture.GaussianMixture.responsibilities"):
        "the same denoiser on both sides; cell 5 refuses it",
    ("samplers", "cell 41: cell, line 8: np.max"): "the least difference falls as 1/T, too",
    ("samplers", "cell 41: mixture.GaussianMixture._log_joint: ((x"):
        "the score of another mixture, on both sides; cell 3 refuses it",
    ("samplers", "alpha_bar * self.covs"): "another mixture, for which the equation holds, too",
    ("samplers", "again - other"): "the data have mean 0: the sum has the same mean square",
    ("samplers", "solve_sde"): "too little for 500 pairs; cell 34 refuses it",
    ("samplers", "mixture.GaussianMixture._log_joint: np.log"):
        "too little for 500 pairs, or on both sides; cell 9 notices it: the mass is not 1",
    ("likelihood_guidance", "cell 12: cell, line 5"):
        "the estimate and its variance are right at every x",
    ("likelihood_guidance", "(estimates[0] - estimates[0].mean()) ** 2"): "a part of the tolerance",
    ("likelihood_guidance", "diffusion.linear_log_alpha_bar"): "holds for every schedule",
    ("likelihood_guidance", "found.pvalue"): QUICK,
    ("likelihood_guidance", "low[0.0] < 0.1"): "fails when weight 0 is told the label",
    ("likelihood_guidance", "np.all(np.diff(x) > 0)"): "fails when the starts are squared",
    ("likelihood_guidance", "mixture.GaussianMixture.sample: self.means[component] +"): NOISE,
    ("likelihood_guidance", "abs(few.var() - std[0] ** 2)"): "fails when std is the variance",
}


# What is changed --------------------------------------------------------------------------------


def sites(tree: ast.AST):
    """Yield (line, description, path to the node, its replacement) of every change of a tree."""
    from mutations import changes

    def visit(node: ast.AST, path: tuple, parent: ast.AST | None):
        if isinstance(node, ast.Assert | ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr
                      | ast.Compare | ast.arguments):
            return
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call):
            return
        if isinstance(node, ast.Expr) and re.match(r"(print|plt|ax|fig|left|right|check)\b",
                                                   ast.unparse(node)):
            return
        if isinstance(node, ast.Constant):
            if type(node.value) in (int, float) and isinstance(parent, ast.BinOp):
                new = ast.Constant(2 * node.value or 1)
                yield node, f"{ast.unparse(parent)}: {node.value} -> {new.value}", path, new
            elif type(node.value) is int and isinstance(parent, ast.Subscript | ast.Slice):
                new = ast.Constant(node.value + 1)
                yield node, f"index {node.value} -> {new.value}", path, new
        elif not isinstance(node, ast.keyword) or node.arg in ("axis", "dim"):
            for description, new in changes(node):
                if "uniform" not in description:  # another distribution of inputs is no mistake
                    yield node, description, path, new
            if isinstance(node, ast.keyword):
                return
        for field, value in ast.iter_fields(node):
            for index, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, ast.AST) and field not in ("annotation", "returns",
                                                                "decorator_list"):
                    step = (field, index if isinstance(value, list) else None)
                    yield from visit(child, (*path, step), node)

    for node, description, path, new in visit(tree, (), None):
        if path:
            yield getattr(node, "lineno", 0), description, path, new


def replaced(tree: ast.AST, path: tuple, new: ast.AST) -> ast.AST:
    """Return a copy of a tree with another node at the end of a path."""
    tree = copy.deepcopy(tree)
    target = tree
    for field, index in path[:-1]:
        target = getattr(target, field) if index is None else getattr(target, field)[index]
    field, index = path[-1]
    if index is None:
        setattr(target, field, new)
    else:
        getattr(target, field)[index] = new
    return ast.fix_missing_locations(tree)


def package_functions() -> dict:
    """Return the functions and methods of the package that have source text, by their code."""
    found = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith("genmodels") or name.startswith("genmodels.exercises"):
            continue
        holders = [module, *(v for v in vars(module).values()
                             if inspect.isclass(v) and v.__module__ == name)]
        for holder in holders:
            for value in vars(holder).values():
                value = getattr(value, "__func__", getattr(value, "fget", value))
                if (isinstance(value, FunctionType) and value.__module__ == name
                        and not value.__code__.co_freevars):
                    found[value.__code__] = value
    return found


def recoded(function: FunctionType, tree: ast.AST) -> CodeType:
    """Return the code object of a function with a changed tree."""
    module = compile(tree, inspect.getsourcefile(function), "exec")
    return next(c for c in module.co_consts if inspect.iscode(c) and c.co_name == function.__name__)


# What is observed -------------------------------------------------------------------------------


def feeding(test: ast.AST, cell: ast.Module) -> set[str]:
    """Return the names that a cell assigns and an assert's test is computed from."""
    sources: dict[str, set[str]] = {}
    for node in ast.walk(cell):
        targets = (node.targets if isinstance(node, ast.Assign) else
                   [node.target] if isinstance(node, ast.AugAssign | ast.For | ast.AnnAssign) else
                   [node.value.func.value] if isinstance(node, ast.Expr)  # values.append(…)
                   and isinstance(node.value, ast.Call)
                   and isinstance(node.value.func, ast.Attribute) else [])
        value = node.iter if isinstance(node, ast.For) else getattr(node, "value", None)
        for target in targets:
            for name in names(target):
                sources.setdefault(name, set()).update(names(value) if value else ())
    found, new = set(), names(test)
    while new:
        found |= new
        new = {s for name in new for s in sources.get(name, ())} - found
    return found & sources.keys()


def names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def is_equality(test: ast.AST) -> bool:
    """Return whether an assert says that things are equal, up to an error."""
    text = ast.unparse(test)
    if any(f"{name}(" in text for name in EQUALITIES) or "==" in text:
        return True
    return bool(re.search(r"\babs\(.*<|< [\d.]+ \* \w*(sem|error|std_err)|< 1e-|< 5\b", text))


def sides(test: ast.AST) -> list[ast.AST]:
    """Return the two things that an assert compares, or the test itself."""
    for node in ast.walk(test):
        if isinstance(node, ast.Call) and len(node.args) >= 2 and any(
                ast.unparse(node.func).endswith(name) for name in EQUALITIES):
            return node.args[:2]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            return [node.left, node.right]
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
            return [node.left, node.comparators[0]]
    return [test]


def is_input(way: tuple, cell: ast.Module, test: ast.AST) -> bool:
    """Return whether a change is in a statement that both sides of an assert are computed from."""
    statement = ast.Module([cell.body[way[0][1]]], [])
    if not isinstance(statement.body[0], ast.Assign | ast.AugAssign):
        return False
    targets = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)
               and isinstance(n.ctx, ast.Store)}
    both = sides(test)
    return len(both) == 2 and all(targets & (feeding(side, cell) | names(side)) for side in both)


class Watch(ast.NodeTransformer):
    """Replace each assert by a call that notes its outcome and what it was computed from."""

    def __init__(self, cell: ast.Module) -> None:
        self.cell, self.tests = cell, []

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        fed = sorted(feeding(node.test, self.cell) | names(node.test))
        self.tests.append(node)
        call = f"__watch__({len(self.tests) - 1}, 0, {fed!r}, locals())"
        new = ast.parse(call).body[0]
        new.value.args[1] = copy.deepcopy(node.test)
        return ast.copy_location(new, node)


def numbers(value, depth: int = 0) -> np.ndarray | None:
    """Return a value as an array of floats, shortened if it is large, or None."""
    if inspect.ismodule(value) or inspect.isclass(value):  # torch.detach is a function
        return None
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value
    if isinstance(value, dict) and depth < 3:
        value = list(value.values())
    try:
        array = np.array(value, dtype=float)  # a copy
    except (TypeError, ValueError, RuntimeError):
        if isinstance(value, list | tuple) and depth < 3:
            parts = [numbers(v, depth + 1) for v in value]
            parts = [p.ravel() for p in parts if p is not None]
            return np.concatenate(parts) if parts else None
        return None
    if array.size > 2000:
        flat = array.ravel()
        return np.concatenate([flat[:500], flat[-500:], [flat.mean(), flat.std(), flat.size]])
    return array


def moved(before: np.ndarray, after: np.ndarray) -> bool:
    if before.shape != after.shape:
        return True
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    if np.all(same):
        return False
    scale = np.max(np.abs(before[np.isfinite(before)]), initial=0.0)
    with np.errstate(all="ignore"):
        return not np.all(same | (np.abs(after - before) <= MOVED * scale + 1e-9))


def run(code, space: dict, patch=None) -> dict:
    """Execute a watched cell; return outcomes and values of its asserts, or the error."""
    outcomes: dict[int, bool] = {}
    values: dict[int, dict] = {}

    def watch(number: int, holds, fed: list[str], local: dict) -> None:
        outcomes[number] = outcomes.get(number, True) and bool(holds)
        noted = values.setdefault(number, {})
        for name in fed:
            got = numbers(local.get(name, space.get(name)))
            if got is not None:
                noted.setdefault(name, []).append(got.ravel())

    space["__watch__"] = watch
    error = ""
    try:
        if patch:
            patch()
        exec(code, space)
    except (Exception, SystemExit) as problem:
        error = f"{type(problem).__name__}: {problem}"[:200]
    values = {k: {name: np.concatenate(v[:50]) for name, v in noted.items()}
              for k, noted in values.items()}
    return {"outcomes": outcomes, "values": values, "error": error}


def forked(function: Callable, seconds: float) -> Any:
    """Return what a function returns in a copy of this process, None if it takes longer."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(function(), pipe)
        os._exit(0)
    os.close(writer)
    data, end = b"", time.monotonic() + seconds
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        if not (block := os.read(reader, 1 << 20)):
            break
        data += block
    os.close(reader)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    try:
        return pickle.loads(data)
    except (EOFError, pickle.UnpicklingError):
        return None


# A chapter --------------------------------------------------------------------------------------


def called_functions(code, space: dict) -> list[FunctionType]:
    """Return the package's functions that a cell runs, found in a copy of this process."""
    functions = package_functions()

    def traced() -> list[int]:
        seen = set()

        def profile(frame, event, _):
            if event == "call":
                seen.add(frame.f_code)

        run(code, space, lambda: sys.setprofile(profile))
        sys.setprofile(None)
        return [n for n, c in enumerate(functions) if c in seen]

    ordered = list(functions.values())
    return [ordered[n] for n in forked(traced, 60 * SECONDS) or []]


def chapter_functions(cells: list[ast.Module], used: set[str]) -> list[ast.FunctionDef]:
    """Return the functions that earlier cells define and a cell uses, also through each other."""
    defined = {node.name: node for cell in cells for node in cell.body
               if isinstance(node, ast.FunctionDef)}
    found: dict[str, ast.FunctionDef] = {}
    new = used & defined.keys()
    while new:
        found |= {name: defined[name] for name in new}
        new = {n for name in new for n in names(defined[name])} & defined.keys() - found.keys()
    return list(found.values())


def run_chapter(path: Path) -> None:
    """Print one line of JSON for each change of each cell that asserts."""
    os.environ["GENMODELS_BUDGET"] = "quick"
    os.environ.setdefault("KERAS_BACKEND", "torch")  # TensorFlow does not survive a fork
    import matplotlib
    matplotlib.use("Agg")
    os.chdir(path.parent)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    space: dict = {"__name__": "__main__"}
    before: list[ast.Module] = []
    for index, cell in enumerate(notebook["cells"]):
        tags = cell["metadata"].get("tags", [])
        source = re.sub(r"^(\s*)[%!].*$", r"\1pass", "".join(cell["source"]), flags=re.MULTILINE)
        if cell["cell_type"] != "code" or "check" in tags or "raises-exception" in tags:
            continue
        tree = ast.parse(source)
        watcher = Watch(tree)
        watched = ast.fix_missing_locations(watcher.visit(copy.deepcopy(tree)))
        if watcher.tests and not {"solution", "exercise"} & set(tags):
            examine(path.stem, index, tree, watched, watcher.tests, before, space)
        exec(compile(tree, f"cell {index}", "exec"), space)
        import matplotlib.pyplot as plt
        plt.close("all")
        before.append(tree)


def examine(chapter: str, index: int, tree, watched, tests, before, space) -> None:
    code = compile(watched, f"cell {index}", "exec")
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), "imports", "exec"), space)  # what may be changed below
    start = time.monotonic()
    base = forked(lambda: run(code, space), 60 * SECONDS) or NO_ANSWER
    seconds = SECONDS + 5 * (time.monotonic() - start)
    head = {"chapter": chapter, "cell": index}
    for number, test in enumerate(tests):
        print(json.dumps({**head, "assert": number, "text": ast.unparse(test.test),
                          "equality": is_equality(test.test),
                          "holds": base["outcomes"].get(number)}), flush=True)
    if base["error"]:
        print(json.dumps({**head, "failed": base["error"]}), flush=True)
        return
    choose = random.Random(f"{chapter} {index}").sample

    def some(found: list, where: str) -> list:
        return choose(found, min(MOST[where], len(found)))

    trials = []
    for line, change, way, new in some(list(sites(watched)), "cell"):
        changed = compile(replaced(watched, way, new), f"cell {index}", "exec")
        inputs = [k for k, test in enumerate(tests) if is_input(way, tree, test.test)]
        trials.append((f"cell, line {line}: {change}", changed, None, inputs))
    found = []
    for function in chapter_functions(before, names(tree)):
        found += [(function, site) for site in sites(ast.Module([function], []))]
    for function, (_, change, way, new) in some(found, "chapter"):
        definition = compile(replaced(ast.Module([function], []), way, new), "chapter", "exec")
        trials.append((f"{function.name}: {change}", code,
                       lambda definition=definition: exec(definition, space), []))
    found = []
    for function in called_functions(code, space):
        source = ast.parse(textwrap.dedent(inspect.getsource(function)))
        found += [(function, source, site) for site in sites(source)]
    for function, source, (_, change, way, new) in some(found, "package"):
        other = recoded(function, replaced(source, way, new))
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        trials.append((f"{name}: {change}", code,
                       lambda function=function, other=other: setattr(function, "__code__", other),
                       []))
    for change, changed, patch, inputs in trials:
        got = forked(lambda changed=changed, patch=patch: run(changed, space, patch),
                     seconds) or NO_ANSWER
        broken = [k for k in base["values"] if k not in got["values"] or any(
            moved(value, got["values"][k].get(name, np.zeros(0)))
            for name, value in base["values"][k].items())]
        failed = [k for k, holds in got["outcomes"].items() if not holds]
        print(json.dumps({**head, "change": change, "broken": broken, "failed": failed,
                          "inputs": inputs, "error": got["error"]}), flush=True)


# The report -------------------------------------------------------------------------------------


def summary(rows: list[dict]) -> tuple[list[str], Counter, set]:
    """Return the lines of the report on the rows of some chapters, counts, keys of REASONS used."""
    used = set()

    def reason(chapter: str, change: str) -> str:
        found = [key for key in REASONS if key[0] == chapter and key[1] in change]
        used.update(found)
        return REASONS[found[0]] if found else "NOT EXPLAINED"

    asserts = {(r["chapter"], r["cell"], r["assert"]): r for r in rows if "assert" in r}
    changes = [r for r in rows if "change" in r]
    count: Counter = Counter(asserts=len(asserts))
    fired = {(r["chapter"], r["cell"], k) for r in changes for k in r["failed"]}
    stopped = {(r["chapter"], r["cell"]) for r in rows if "failed" in r and "change" not in r}
    lines = [f"* {c}, cell {i}: the cell failed unchanged" for c, i in sorted(stopped)]
    for key, row in asserts.items():
        count["can fail"] += key in fired
        if key not in fired:
            lines.append(f"* never fails: {key[0]}, cell {key[1]}: `assert {row['text']}`: "
                         f"{reason(key[0], row['text'])}")
    for row in changes:
        broken = [k for k in row["broken"]
                  if asserts[row["chapter"], row["cell"], k]["equality"]]
        noticed = bool(row["failed"] or row["error"])
        count["changes"] += 1
        if row["error"] == NO_ANSWER["error"]:
            count[HANGS] += 1
        elif not row["broken"] and not noticed:
            count[NO_EFFECT] += 1
        elif noticed:
            count["caught"] += 1
        elif not broken:
            count[STILL_HOLDS] += 1
        elif set(broken) <= set(row["inputs"]):
            count[BOTH_SIDES] += 1
        else:
            why = reason(row["chapter"], f"cell {row['cell']}: {row['change']}")
            count["unnoticed"] += 1
            count["unnoticed, with a reason"] += why != "NOT EXPLAINED"
            lines.append(f"* unnoticed: {row['chapter']}, cell {row['cell']}, {row['change']}: "
                         f"{why}")
    return lines, count, used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="names of notebooks, without .ipynb")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    import notebooks
    paths = {path.stem: path for path in notebooks.notebooks()}
    if arguments.inside:
        run_chapter(paths[arguments.chapters[0]])
        return
    lines, table, total, used = [], [], Counter(), set()

    def inside(chapter: str) -> subprocess.CompletedProcess:
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # two chapters run side by side
        return subprocess.run([sys.executable, __file__, chapter, "--inside"], env=one_thread,
                              capture_output=True, text=True)

    chapters = arguments.chapters or list(paths)
    runs = concurrent.futures.ThreadPoolExecutor(2).map(inside, chapters)
    for chapter, printed in zip(chapters, runs):
        if printed.returncode:
            raise SystemExit(f"{chapter}: {printed.stderr}")
        rows = [json.loads(line) for line in printed.stdout.splitlines()
                if line.startswith('{"chapter"')]  # cells print, too
        found, count, reasons = summary(rows)
        lines += found
        used |= reasons
        total += count
        table.append(f"| {chapter} | {count['asserts']} | {count['can fail']} | "
                     f"{count['changes']} | {count['caught']} | {count['unnoticed']} |")
        print(*found, table[-1], sep="\n", flush=True)
    known = total["unnoticed, with a reason"]
    said = (f"{total['asserts']} asserts, {total['can fail']} of them made to fail. "
            f"{total['changes']} changes: {total['caught']} caught, {total['unnoticed']} unnoticed "
            f"({known} of these with a reason), " + ", ".join(
                f"{total[name]} {name}" for name in (NO_EFFECT, STILL_HOLDS, BOTH_SIDES, HANGS))
            + f".\n{total['caught']} of {total['caught'] + total['unnoticed'] - known} that change "
            f"behaviour are caught: "
            f"{total['caught'] / max(total['caught'] + total['unnoticed'] - known, 1):.1%}.")
    print(said)
    if not arguments.chapters:
        unused = [f"{chapter}: {part}" for chapter, part in REASONS.keys() - used]
        print("Reasons that were not needed:", *sorted(unused), sep="\n")
        RESULTS.write_text("\n".join([
            "# Mutations of what the asserts of the chapters guard", "",
            "Written by `benchmarks/assert_mutations.py`, which says what is changed and counted.",
            "", f"{datetime.date.today()}: {said}", "",
            "| chapter | asserts | made to fail | changes | caught | unnoticed |",
            "| --- | ---: | ---: | ---: | ---: | ---: |", *table, "", *lines, ""]),
            encoding="utf-8")


if __name__ == "__main__":
    main()
