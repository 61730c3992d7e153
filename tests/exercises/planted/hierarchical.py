from planted import Planted, swap

PLANTED = {
    "two-layer-elbo": Planted(
        base="""
def chain_elbo(x, decoder, encoder):
    a1, v1, a0, v0 = decoder
    b1, u1, b2, u2 = encoder
    square = (b1 * x) ** 2 + u1  # E[h_1²]
    data = -0.5 * (np.log(2 * np.pi * v0) + (((1 - a0 * b1) * x) ** 2 + a0**2 * u1) / v0)
    step = -0.5 * (np.log(2 * np.pi * v1) + ((1 - a1 * b2) ** 2 * square + a1**2 * u2) / v1)
    prior = -0.5 * (np.log(2 * np.pi) + b2**2 * square + u2)
    entropy = 0.5 * np.log(2 * np.pi * np.e * u1) + 0.5 * np.log(2 * np.pi * np.e * u2)
    return data + step + prior + entropy
""",
        right=[
            """
from scipy.stats import norm
def chain_elbo(x, decoder, encoder):
    (a1, v1, a0, v0), (b1, u1, b2, u2) = decoder, encoder
    elbo = []
    for value in x:
        m1, m2 = b1 * value, b2 * b1 * value
        s1, s2, cross = u1, b2**2 * u1 + u2, b2 * u1
        total = norm.logpdf(value, a0 * m1, v0**0.5) - a0**2 * s1 / (2 * v0)
        total += norm.logpdf(m1, a1 * m2, v1**0.5)
        total -= (s1 + a1**2 * s2 - 2 * a1 * cross) / (2 * v1)
        total += norm.logpdf(m2) - s2 / 2
        elbo.append(total + norm.entropy(0, u1**0.5) + norm.entropy(0, u2**0.5))
    return elbo
""",
            """
import torch
def chain_elbo(x, decoder, encoder):
    a1, v1, a0, v0 = (torch.tensor(value, dtype=torch.float64) for value in decoder)
    b1, u1, b2, u2 = (torch.tensor(value, dtype=torch.float64) for value in encoder)
    mix = torch.stack([torch.stack([torch.sqrt(v1), a1, 0 * a1]),
                       torch.stack([0 * a1, 1 + 0 * a1, 0 * a1]),
                       torch.stack([a0 * torch.sqrt(v1), a0 * a1, torch.sqrt(v0)])])
    cov = mix @ mix.T
    gain = cov[:2, 2] / cov[2, 2]
    posterior = cov[:2, :2] - gain[:, None] * cov[2, :2]
    up = torch.stack([torch.stack([torch.sqrt(u1), 0 * u1]),
                      torch.stack([b2 * torch.sqrt(u1), torch.sqrt(u2)])])
    normal = torch.distributions.MultivariateNormal
    q = normal(x[:, None] * torch.stack([b1, b2 * b1]), scale_tril=up)
    p = normal(x[:, None] * gain, posterior)
    log_p = torch.distributions.Normal(0.0, torch.sqrt(cov[2, 2])).log_prob(x)
    return log_p - torch.distributions.kl_divergence(q, p)
""",
            swap("np.log(2 * np.pi * v0)", "np.log(2 * np.pi) + np.log(v0)"),
        ],
        wrong={
            "sign of the encoder's terms": (swap("+ entropy", "- entropy"), "wrong sign"),
            "no encoder": (swap(" + entropy", ""), "terms of the encoder are missing"),
            "no upper encoder": (swap(" + 0.5 * np.log(2 * np.pi * np.e * u2)", ""),
                                 "Q(h_2|h_1) is missing"),
            "no lower encoder": (swap("0.5 * np.log(2 * np.pi * np.e * u1) + ", ""),
                                 "Q(h_1|x) is missing"),
            "no prior": (swap(" + prior", ""), "prior p(h_2) is missing"),
            "no middle": (swap(" + step", ""), "p(h_1|h_2) is missing"),
            "a loss": (swap("return data + step + prior + entropy",
                            "return -(data + step + prior + entropy)"), "−ELBO"),
            "at the means": (swap(" + u1  #", "  #", " + a0**2 * u1", "", " + a1**2 * u2", "",
                                  "square + u2)", "square)"), "puts the means"),
            "log p": ("""
from scipy.stats import norm
def chain_elbo(x, decoder, encoder):
    a1, v1, a0, v0 = decoder
    return norm.logpdf(x, 0, np.sqrt(a0**2 * (a1**2 + v1) + v0))
""", "This is log p(x)"),
            "entropy without e": (swap(" * np.e", ""), "too small by ½ each"),
            "no log 2π in p": (swap("np.log(2 * np.pi * v", "np.log(v",
                                    "np.log(2 * np.pi) + ", ""), "Three summands"),
            "no log 2π": (swap("np.log(2 * np.pi * np.e * u1)", "(np.log(u1) + 1)",
                               "np.log(2 * np.pi * np.e * u2)", "(np.log(u2) + 1)",
                               "np.log(2 * np.pi * v", "np.log(v", "np.log(2 * np.pi) + ", ""),
                          "A summand ½ log 2π is missing"),
            "variances for deviations": (swap("u2 = encoder", "u2 = encoder; "
                                              "v0, v1, u1, u2 = v0**2, v1**2, u1**2, u2**2"),
                                         "for standard deviations"),
            "independent": (swap("(1 - a1 * b2) ** 2 * square + a1**2 * u2",
                                 "u1 + a1**2 * (b2**2 * u1 + u2)"
                                 " + ((1 - a1 * b2) * b1 * x) ** 2"), "were independent"),
            "sum of the examples": (swap("prior + entropy", "prior + entropy).sum()",
                                         "return data", "return (data"), "sum over the examples"),
            "no half in the prior": (swap("prior = -0.5", "prior = -1.0"), None),
        },
    ),
    "forward-jump": Planted(
        base="""
def forward_jump(x0, noise, t, alphas):
    alpha_bar = np.cumprod(alphas)[t - 1][:, None]
    return np.sqrt(alpha_bar) * x0 + np.sqrt(1 - alpha_bar) * noise
""",
        right=[
            """
def forward_jump(x0, noise, t, alphas):
    result = []
    for i in range(len(x0)):
        x = 0.0
        level = 1.0
        for step in range(t[i]):
            level = level * alphas[step]
        result.append(level**0.5 * x0[i] + (1 - level) ** 0.5 * noise[i])
    return np.array(result)
""",
            """
import torch
def forward_jump(x0, noise, t, alphas):
    log_alpha_bar = torch.cat([torch.zeros(1), torch.log(alphas.float()).cumsum(dim=0)])
    level = torch.exp(log_alpha_bar)[t].unsqueeze(1)
    return level.sqrt() * x0.float() + (1 - level).sqrt() * noise.float()
""",
            swap("np.cumprod(alphas)[t - 1]", "np.array([np.prod(alphas[:i]) for i in t])"),
            """
import torch
def forward_jump(x0, noise, t, alphas):
    rows = []
    for i, time in enumerate(t):
        level = torch.prod(alphas[:int(time)]).requires_grad_()
        rows.append(torch.sqrt(level) * x0[i] + torch.sqrt(1 - level) * noise[i])
    return rows
""",
        ],
        wrong={
            "alpha for alpha bar": (swap("np.cumprod(alphas)", "alphas"), "of the last step alone"),
            "off by one": (swap("[t - 1]", "[np.minimum(t, len(alphas) - 1)]"), "x_{t+1}"),
            "off by one, out of the array": (swap("[t - 1]", "[t]"), "x_{t+1}"),
            "off by one, early": (swap("np.cumprod(alphas)", "np.append(1, np.cumprod(alphas))"),
                                  "x_{t−1}"),
            "no roots": (swap("np.sqrt", ""), "Both roots"),
            "no root of the noise": (swap("np.sqrt(1 - alpha_bar)", "(1 - alpha_bar)"),
                                     "needs a standard deviation"),
            "no root of the data": (swap("np.sqrt(alpha_bar)", "alpha_bar"), "data's factor"),
            "exchanged": (swap("np.sqrt(alpha_bar) * x0 + np.sqrt(1 - alpha_bar) * noise",
                               "np.sqrt(alpha_bar) * noise + np.sqrt(1 - alpha_bar) * x0"),
                          "exchanged"),
            "noise of the last step": (swap("np.sqrt(1 - alpha_bar)",
                                            "np.sqrt(1 - alphas[t - 1])[:, None]"),
                                       "last step alone is added"),
            "sum for product": (swap("np.cumprod", "np.cumsum"), None),
            "no axis": (swap("[:, None]", ""), None),
            "first time for all": (swap("[t - 1]", "[t * 0 + t[0] - 1]"), "of the first one"),
            "product of all": (swap("np.cumprod(alphas)[t - 1]", "np.prod(alphas) + 0 * t"), None),
            "no noise": (swap(" + np.sqrt(1 - alpha_bar) * noise", ""), "without noise"),
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
print("σ_t²:   ", [f"{sample(num_steps, False, rng).var() / C:.3f}" for num_steps in COUNTS])
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
            "exchanged": (swap("if wide", "if not wide"), "wide = False σ_t² is asked"),
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
