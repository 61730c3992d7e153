// The mathematics of noise_and_back.js: a noisy Gaussian mixture in the plane with its score and its
// best denoiser, and two samplers, as genmodels.exact.mixture and genmodels.diffusion compute them.
liveFigures.diffusion = (() => {
  // The noisy mixture at the level ᾱ: its components with all that the denoiser needs.
  const noisy = (data, alphaBar) => data.means.map((mean, m) => {
    const a = Math.sqrt(alphaBar), [[c00, c01], [, c11]] = data.covs[m];
    const s00 = alphaBar * c00 + 1 - alphaBar, s01 = alphaBar * c01;
    const s11 = alphaBar * c11 + 1 - alphaBar, det = s00 * s11 - s01 * s01;
    const [p00, p01, p11] = [s11 / det, -s01 / det, s00 / det]; // the precision
    return {
      mean, shifted: [a * mean[0], a * mean[1]], precision: [p00, p01, p11],
      gain: [a * (c00 * p00 + c01 * p01), a * (c00 * p01 + c01 * p11),
             a * (c01 * p00 + c11 * p01), a * (c01 * p01 + c11 * p11)],
      logNorm: Math.log(data.weights[m]) - Math.log(2 * Math.PI) - Math.log(det) / 2,
    };
  });

  // log density, score and E[x_0|x_t] at one point.
  const look = (level, x, y) => {
    const offsets = level.map(({ shifted }) => [x - shifted[0], y - shifted[1]]);
    const logs = level.map(({ precision: [p, q, r], logNorm }, m) => {
      const [u, v] = offsets[m];
      return logNorm - (p * u * u + 2 * q * u * v + r * v * v) / 2;
    });
    const top = Math.max(...logs);
    const shares = logs.map((log) => Math.exp(log - top));
    const total = shares.reduce((sum, share) => sum + share, 0);
    const score = [0, 0], denoised = [0, 0];
    level.forEach(({ mean, gain, precision: [p, q, r] }, m) => {
      const share = shares[m] / total, [u, v] = offsets[m];
      score[0] -= share * (p * u + q * v);
      score[1] -= share * (q * u + r * v);
      denoised[0] += share * (mean[0] + gain[0] * u + gain[1] * v);
      denoised[1] += share * (mean[1] + gain[2] * u + gain[3] * v);
    });
    return { log: top + Math.log(total), score, denoised };
  };

  const normalPair = (random) => {
    const radius = Math.sqrt(-2 * Math.log(1 - random())), angle = 2 * Math.PI * random();
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  };

  // One step from x_t to x_{t−1}; now and before are ᾱ_t and ᾱ_{t−1}.
  const ddimStep = ([x, y], [x0, y0], now, before) => {
    const a = Math.sqrt(now), s = Math.sqrt(1 - now);
    const kept = Math.sqrt(1 - before) / s, signal = Math.sqrt(before);
    return [signal * x0 + kept * (x - a * x0), signal * y0 + kept * (y - a * y0)];
  };
  const ancestralStep = ([x, y], [x0, y0], now, before, random) => {
    const alpha = now / before, spread = Math.sqrt(((1 - before) * (1 - alpha)) / (1 - now));
    const ofX0 = (Math.sqrt(before) * (1 - alpha)) / (1 - now);
    const ofXt = (Math.sqrt(alpha) * (1 - before)) / (1 - now);
    const [kickX, kickY] = before < 1 ? normalPair(random) : [0, 0];
    return [ofX0 * x0 + ofXt * x + spread * kickX, ofX0 * y0 + ofXt * y + spread * kickY];
  };

  return { noisy, look, ddimStep, ancestralStep };
})();
