from planted import Planted, swap

PLANTED = {
    "chain-work": Planted(
        base="""
def free_energy(work):
    least = np.min(work)
    jarzynski = least - np.log(np.mean(np.exp(least - work)))
    return jarzynski, np.mean(work), np.mean(work) - np.var(work, ddof=1) / 2


closest = "near equilibrium"
""",
        right=[
            """
from scipy.special import logsumexp
closest = "near equilibrium"
def free_energy(work):
    n, mean = len(work), sum(work) / len(work)
    variance = sum((w - mean) ** 2 for w in work) / (n - 1)
    return [-logsumexp(-work, b=1 / n), mean, mean - variance / 2]
""",
            """
import torch
def free_energy(work):
    log_mean = torch.logsumexp(-work, dim=0) - torch.log(torch.tensor(len(work)))
    return -log_mean, work.mean(), work.mean() - work.var() / 2
closest = "near equilibrium"
""",
        ],
        wrong={
            "log p": (swap("jarzynski = least", "jarzynski = -least", "- np.log(np.mean",
                           "+ np.log(np.mean"), "other sign"),
            "sum of the weights": (swap("np.log(np.mean(", "np.log(np.sum("),
                                   "where their mean belongs"),
            "exponent": (swap("least - np.log(np.mean(np.exp(least - work)))",
                              "np.max(work) + np.log(np.mean(np.exp(work - np.max(work))))"),
                         "averages exp(+W)"),
            "mean of the logarithms": (swap("return jarzynski", "return np.mean(work)"),
                                       "not the mean of the logarithms"),
            "smallest work": (swap("return jarzynski", "return least"), "smallest work"),
            "overflow": (swap("np.min(work)", "0.0"), "inf"),
            "largest work": (swap("np.min(work)", "np.max(work)"), "inf"),
            "first work": (swap("np.min(work)", "work[0]"), "inf"),
            "no logarithm": (swap("return jarzynski", "return np.exp(-jarzynski)"),
                             "minus its logarithm"),
            "the ELBO": (swap("jarzynski, np.mean(work),", "jarzynski, -np.mean(work),"),
                         "minus the mean work"),
            "dissipated work": (swap("jarzynski, np.mean(work),",
                                     "jarzynski, np.mean(work) - jarzynski,"),
                                "difference of the first two"),
            "median": (swap("jarzynski, np.mean(work),", "jarzynski, np.median(work),"), "median"),
            "sum": (swap("jarzynski, np.mean(work),", "jarzynski, np.sum(work),"),
                    "sum of the works"),
            "sign of the variance": (swap("- np.var", "+ np.var"), "sign of the variance"),
            "no half": (swap("ddof=1) / 2", "ddof=1)"), "½ is missing"),
            "deviation": (swap("np.var(work", "np.std(work"), "standard deviation where"),
            "biased variance": (swap(", ddof=1", ""), "n in its denominator"),
            "half the variance": (swap("np.mean(work) - np.var(work, ddof=1)",
                                       "np.var(work, ddof=1)"), "subtract it from the mean work"),
            "from Jarzynski": (swap("np.mean(work) - np.var", "jarzynski - np.var"),
                               "belongs to the mean work"),
            "two results": (swap(", np.mean(work) - np.var(work, ddof=1) / 2", ""), "3 results"),
            "trusts the equality": (swap('"near equilibrium"', '"jarzynski"'),
                                    "another one was closer"),
            "trusts the bound": (swap('"near equilibrium"', '"mean work"'),
                                 "another one was closer"),
            "another word": (swap('"near equilibrium"', '"the third"'), "must be one of"),
        },
    ),
    "noise-too-fast": Planted(
        base="""
def program_snr(alphas):
    left = np.cumprod(np.cumprod(alphas))  # the share of the data after each pass
    return left / (1 - left)


reveals = "correlation"
""",
        right=[
            """
reveals = "correlation"
def program_snr(alphas):
    result, share, level = [], 1.0, 1.0
    for alpha in alphas:
        level = level * alpha
        share = share * level
        result.append(1 / (1 / share - 1))
    return result
""",
            """
import torch
reveals = "correlation"
def program_snr(alphas):
    powers = torch.arange(len(alphas), 0, -1)
    left = [torch.prod(alphas[:t] ** powers[-t:]) for t in range(1, len(alphas) + 1)]
    return torch.stack(left) / (1 - torch.stack(left))
""",
        ],
        wrong={
            "of (D1)": (swap("np.cumprod(np.cumprod(alphas))", "np.cumprod(alphas)"),
                        "that (D1) asks for"),
            "single steps": (swap("np.cumprod(np.cumprod(alphas))", "alphas"),
                             "each step alone"),
            "amplitudes": (swap("return left / (1 - left)", "return np.sqrt(left / (1 - left))"),
                           "its square"),
            "one root": (swap("return left /", "return np.sqrt(left) /"), "root of a product"),
            "share": (swap(" / (1 - left)", ""), "divides it by the rest"),
            "logarithm": (swap("return left / (1 - left)", "return np.log(left / (1 - left))"),
                          "log SNR"),
            "upside down": (swap("return left / (1 - left)", "return (1 - left) / left"),
                            "noise-to-signal"),
            "last": (swap("/ (1 - left)", "/ (1 - left))[-1]", "return left", "return (left"),
                     "after the last pass"),
            "noise of the last pass": (swap("(1 - left)", "(1 - np.cumprod(alphas))"),
                                       "Only the noise"),
            "variance reveals": (swap('"correlation"', '"variance"'), "knows x_0"),
            "mean reveals": (swap('"correlation"', '"mean"'), "knows x_0"),
            "another word": (swap('"correlation"', '"all"'), "must be one of"),
            "sum": (swap("np.cumprod(np.cumprod(alphas))", "np.cumsum(alphas) / 10"), None),
        },
    ),
    "posterior-any-step": Planted(
        base="""
def step_back_to(x0, xt, s, t, alpha_bar):
    now, before = alpha_bar[t], alpha_bar[s]
    alpha = now / before  # of the steps from s to t together
    of_x0 = np.sqrt(before) * (1 - alpha) / (1 - now)
    of_xt = np.sqrt(alpha) * (1 - before) / (1 - now)
    return of_x0 * x0 + of_xt * xt, (1 - alpha) * (1 - before) / (1 - now)
""",
        right=[
            """
def step_back_to(x0, xt, s, t, alpha_bar):
    if s == 0:
        return x0, 0.0
    alpha = alpha_bar[t] / alpha_bar[s]
    variance = 1 / (alpha / (1 - alpha) + 1 / (1 - alpha_bar[s]))
    mean = alpha**0.5 / (1 - alpha) * xt + alpha_bar[s] ** 0.5 / (1 - alpha_bar[s]) * x0
    return variance * mean, variance
""",
            """
import torch
def step_back_to(x0, xt, s, t, alpha_bar):
    x0, xt, alpha_bar = x0.float(), xt.float(), alpha_bar.float()
    link = torch.sqrt(torch.prod(alpha_bar[s + 1:t + 1] / alpha_bar[s:t]))
    gain = link * (1 - alpha_bar[s]) / (1 - alpha_bar[t])
    mean = torch.sqrt(alpha_bar[s]) * x0 + gain * (xt - torch.sqrt(alpha_bar[t]) * x0)
    return mean, (1 - alpha_bar[s]) * (1 - gain * link)
""",
            swap("return of_x0 * x0 + of_xt * xt, ",
                 "return list(of_x0 * x0 + of_xt * xt), "),
        ],
        wrong={
            "to t − 1": (swap("alpha_bar[s]", "alpha_bar[t - 1]"), "back to t − 1"),
            "α of one step": (swap("alpha = now / before", "alpha = now / alpha_bar[t - 1]"),
                              "from t − 1 to t is used"),
            "ᾱ for α": (swap("alpha = now / before", "alpha = now"), "has ᾱ_t where"),
            "off by one": (swap("alpha_bar[t]", "alpha_bar[t - 1]",
                                "alpha_bar[s]", "alpha_bar[s - 1]"), "Off by one"),
            "standard deviation": (swap("x0 + of_xt * xt, (1 - alpha) * (1 - before) / (1 - now)",
                                        "x0 + of_xt * xt, np.sqrt((1 - alpha) * (1 - before)"
                                        " / (1 - now))"), "standard deviation"),
            "variance of the way up": (swap("xt, (1 - alpha) * (1 - before) / (1 - now)",
                                            "xt, 1 - alpha"), "steps up"),
            "variance of q(x_s|x_0)": (swap("xt, (1 - alpha) * (1 - before) / (1 - now)",
                                            "xt, 1 - before"), "x_t tells more"),
            "exchanged": (swap("of_x0 * x0 + of_xt * xt", "of_x0 * xt + of_xt * x0"),
                          "exchanged"),
            "no roots": (swap("np.sqrt", ""), "roots of both"),
            "without x_t": (swap("of_x0 * x0 + of_xt * xt", "np.sqrt(before) * x0"),
                            "ignores x_t"),
            "only the mean": (swap(", (1 - alpha) * (1 - before) / (1 - now)", ""),
                              "2 results"),
            "variance of every component": (swap("(1 - alpha) * (1 - before) / (1 - now)",
                                                 "(1 - alpha) * (1 - before) / (1 - now) + 0 * x0"),
                                            "one number"),
            "undefined at s = 0": ("""
def step_back_to(x0, xt, s, t, alpha_bar):
    alpha, before = alpha_bar[t] / alpha_bar[s], alpha_bar[s]
    variance = 1 / (alpha / (1 - alpha) + 1 / (1 - before))
    mean = np.sqrt(alpha) / (1 - alpha) * xt + np.sqrt(before) / (1 - before) * x0
    return variance * mean, variance
""", "s = 0"),
        },
    ),
    "denoising-sum-estimate": Planted(
        base="""
def denoising_sum(x0, x0_hat, t, alpha_bar):
    snr = alpha_bar[1:] / (1 - alpha_bar[1:])  # SNR(1) … SNR(T)
    weight = 0.5 * (snr[t - 2] - snr[t - 1])
    return len(snr[1:]) * weight * np.sum((x0 - x0_hat) ** 2, axis=1)
""",
        right=[
            """
def denoising_sum(x0, x0_hat, t, alpha_bar):
    estimates = []
    for i, time in enumerate(t):
        now, before = alpha_bar[time], alpha_bar[time - 1]
        alpha = now / before
        weight = before**0.5 * (1 - alpha) / (1 - now)
        variance = (1 - alpha) * (1 - before) / (1 - now)
        square = sum((a - b) ** 2 for a, b in zip(x0[i], x0_hat[i]))
        estimates.append((len(alpha_bar) - 2) * weight**2 * square / (2 * variance))
    return np.array(estimates)
""",
            """
import torch
def denoising_sum(x0, x0_hat, t, alpha_bar):
    snr = 1 / (1 / alpha_bar.float() - 1)
    weight = (snr[t - 1] - snr[t]) / 2 * (len(alpha_bar) - 2)
    return weight * torch.nn.functional.mse_loss(x0_hat.float(), x0.float(),
                                                 reduction="none").sum(dim=1)
""",
        ],
        wrong={
            "always five terms": (swap("len(snr[1:])", "5"), None),
            "one term": (swap("len(snr[1:]) * ", ""), "term at t"),
            "T terms": (swap("len(snr[1:])", "len(snr)"), "counts T terms"),
            "no half": (swap("0.5 * ", ""), "½ is missing"),
            "no half, one term": (swap("0.5 * ", "", "len(snr[1:]) * ", ""),
                                  "stands for the sum"),
            "mean over components": (swap("np.sum", "np.mean"), "mean over the components"),
            "mean over all": (swap("axis=1)", "axis=1).mean()", "weight * np.sum",
                                   "(weight * np.sum", "axis=1).mean()", "axis=1)).mean()"),
                              "mean over the examples"),
            "sign": (swap("snr[t - 2] - snr[t - 1]", "snr[t - 1] - snr[t - 2]"), "sign"),
            "off by one": (swap("snr[t - 2] - snr[t - 1]",
                                "snr[t - 1] - snr[np.minimum(t, len(snr) - 1)]"), "Off by one"),
            "log SNR": (swap("alpha_bar[1:] / (1 - alpha_bar[1:])",
                             "np.log(alpha_bar[1:] / (1 - alpha_bar[1:]))"), "log SNR"),
            "no difference": (swap("(snr[t - 2] - snr[t - 1])", "snr[t - 1]"),
                              "difference of two SNRs"),
            "difference of alpha bar": (swap(" / (1 - alpha_bar[1:])", ""), "two ᾱ"),
            "no weight": (swap(" * (snr[t - 2] - snr[t - 1])", ""), "no weight"),
            "norm, not squared": (swap("np.sum((x0 - x0_hat) ** 2, axis=1)",
                                       "np.linalg.norm(x0 - x0_hat, axis=1)"), "not its root"),
            "weight of the noise": (swap("snr[t - 1])", "snr[t - 1]) / snr[t - 1]"),
                                    "noise's error"),
            "sum over the wrong axis": (swap("axis=1", "axis=0"), None),
        },
    ),
    "ancestral-width": Planted(
        base="""
def sample(num_steps, wide, rng):
    schedule, x = NoiseSchedule.linear(num_steps), rng.standard_normal(SAMPLES)
    for t in range(num_steps, 0, -1):
        x0_hat = denoise(x, schedule.alpha_bar(t))
        x, variance = schedule.posterior_moments(x0_hat, x, t)
        if wide:
            variance = 1 - schedule.alpha(t)
        if t > 1:
            x = x + np.sqrt(variance) * rng.standard_normal(x.shape)
    return x


prediction = "narrower"
print("variance / C for T in", COUNTS)
print("β̃_t:   ", [f"{sample(num_steps, False, rng).var() / C:.3f}" for num_steps in COUNTS])
print("1 − α_t:", [f"{sample(num_steps, True, rng).var() / C:.3f}" for num_steps in COUNTS])
""",
        right=[
            """
prediction = "narrower"
def sample(num_steps, wide, rng):
    schedule = NoiseSchedule.linear(num_steps)
    all_noise = rng.normal(size=(SAMPLES, num_steps))
    x = all_noise[:, 0]
    for t in range(num_steps, 0, -1):
        now, before = schedule.alpha_bar(t), schedule.alpha_bar(t - 1)
        alpha = now / before
        factor = np.sqrt(before) * (1 - alpha) / (1 - now) * denoise(1.0, now)
        factor += np.sqrt(alpha) * (1 - before) / (1 - now)
        variance = 1 - alpha if wide else (1 - alpha) * (1 - before) / (1 - now)
        x = factor * x if t == 1 else factor * x + variance**0.5 * all_noise[:, t - 1]
    return list(x)
""",
            """
import torch
def sample(num_steps, wide, rng):
    generator = torch.Generator().manual_seed(int(rng.integers(2**40)))
    schedule = NoiseSchedule.linear(num_steps)
    x = torch.randn(SAMPLES, generator=generator)
    for t in range(num_steps, 0, -1):
        now, before, alpha = schedule.alpha_bar(t), schedule.alpha_bar(t - 1), schedule.alpha(t)
        x0_hat = now**0.5 * C / (now * C + 1 - now) * x
        x = (before**0.5 * (1 - alpha) * x0_hat + alpha**0.5 * (1 - before) * x) / (1 - now)
        if t > 1:
            small = (1 - alpha) * (1 - before) / (1 - now)
            sigma = (1 - alpha if wide else small) ** 0.5
            x = x + sigma * torch.randn(SAMPLES, generator=generator)
    return x.requires_grad_()
prediction = "narrower"
""",
        ],
        wrong={
            "noise in the last step": (swap("t > 1", "t > 0"), "noise in the last step"),
            "variance for deviation": (swap("np.sqrt(variance)", "variance"),
                                       "needs a standard deviation"),
            "no noise": (swap("if t > 1:", "if False:"), "No noise is added"),
            "ends at t = 2": (swap("range(num_steps, 0, -1)", "range(num_steps, 1, -1)"),
                              "last step is missing"),
            "begins at T - 1": (swap("range(num_steps, 0, -1)", "range(num_steps - 1, 0, -1)"),
                                "first step is missing"),
            "no noise at t = 2": (swap("t > 1", "t > 2"), "at t = 2"),
            "exchanged": (swap("if wide", "if not wide"), "wide = False β̃_t is asked"),
            "only the small variance": (swap("if wide", "if False"), "True 1 − α_t is asked"),
            "divided": (swap("return x", "return x / C"), "divided by C"),
            "the variance": (swap("return x", "return x.var() / C"), "one number for each"),
            "ᾱ for α": (swap("1 - schedule.alpha(t)", "1 - schedule.alpha_bar(t)"),
                        "where 1 − α_t belongs"),
            "starts as the data": (swap("x = NoiseSchedule.linear(num_steps), rng",
                                        "x = NoiseSchedule.linear(num_steps), C**0.5 * rng"),
                                   "variance of the data"),
            "always 100 steps": (swap("schedule, x =", "num_steps = 100; schedule, x ="), None),
            "one noise for all": (swap("rng.standard_normal(x.shape)", "rng.standard_normal()"),
                                  None),
            "the same noise in every step": ("""
prediction = "narrower"
def sample(num_steps, wide, rng):
    schedule, x = NoiseSchedule.linear(num_steps), rng.standard_normal(SAMPLES)
    noise = rng.standard_normal(SAMPLES)
    for t in range(num_steps, 0, -1):
        x0_hat = denoise(x, schedule.alpha_bar(t))
        x, variance = schedule.posterior_moments(x0_hat, x, t)
        variance = 1 - schedule.alpha(t) if wide else variance
        x = x + np.sqrt(variance) * noise * (t > 1)
    return x
""", None),
            "own generator": (swap("rng.standard", "np.random.default_rng(3).standard"),
                              "is where it was before"),
            "global generator": (swap("rng.standard", "np.random.standard"),
                                 "is where it was before"),
            "half of it global": (swap("rng.standard_normal(x.shape)",
                                       "np.random.standard_normal(x.shape)"), "in the same state"),
            "another prediction": (swap('"narrower"', '"equal"'), "contradicts what it gives"),
            "a prediction in other words": (swap('"narrower"', '"smaller"'), "must be one of"),
        },
    ),
}
