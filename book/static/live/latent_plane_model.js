// The mathematics of latent_plane.js: the decoder of genmodels.models.vae_torch.MLPVAE with Bernoulli
// pixels, from latents to the probability of each pixel.
liveFigures.latentDecoder = (() => {
  // Numbers in half precision, as they are stored, from base64; none is rounded.
  const halves = (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 2 }, (_, i) => {
      const bits = view.getUint16(2 * i, true), exponent = (bits >> 10) & 31, digits = bits & 1023;
      const size = exponent ? (1 + digits / 1024) * 2 ** (exponent - 15) : digits / 1024 * 2 ** -14;
      return bits & 32768 ? -size : size;
    });
  };

  // A dense layer: weights of shape (out, in).
  const dense = (weights, bias) => (input) => bias.map((sum, out) => {
    for (let i = 0; i < input.length; i += 1) sum += weights[out * input.length + i] * input[i];
    return sum;
  });

  // Return the function that decodes a point h, an array, from the weights by their names in PyTorch.
  return (weights) => {
    const layer = (name) => dense(halves(weights[`${name}.weight`]), halves(weights[`${name}.bias`]));
    const toUnits = layer("decoder.0"), toLogits = layer("decoder.2");
    return (h) => {
      const units = toUnits(h).map((value) => Math.max(0, value));
      return toLogits(units).map((logit) => 1 / (1 + Math.exp(-logit)));
    };
  };
})();
