// Guided samples of a Gaussian, by the ODE and by the SDE, beside the tilted density p(x) p(y|x)^w:
// N(0, 1) without the label, N(m, s²) with it. The closed forms are those of the chapter.
liveFigures.define("guidance_weight", (box, data) => {
  const { blue, orange } = liveFigures.colours;
  const { element, number, shape } = liveFigures;
  const [LOW, HIGH] = [-3, 4]; // the x of the picture
  const { mean: m, variance: s2 } = data, k = 1 - s2;
  // Each has a colour, a dash and a mark.
  const KINDS = [
    { name: "tilted", label: "tilted density", colour: "currentColor", dash: "6 4" },
    { name: "ode", label: "guided ODE", colour: blue, dash: "none", mark: "circle" },
    { name: "sde", label: "guided SDE", colour: orange, dash: "2 3", mark: "square" },
  ];

  // Simpson's rule from 0 to 1.
  const integral = (f, steps = 1000) => {
    let sum = f(0) + f(1);
    for (let i = 1; i < steps; i += 1) sum += (2 + 2 * (i % 2)) * f(i / steps);
    return sum / (3 * steps);
  };

  // D[first ‖ second] of two Gaussians, nats.
  const divergence = (first, second) => 0.5 * (Math.log(second.variance / first.variance) - 1
    + (first.variance + (first.mean - second.mean) ** 2) / second.variance);

  const read = () => {
    const w = weight.valueAsNumber, precision = w + (1 - w) * s2; // of the tilted density, times s²
    const spread = (2 * w - 1) * Math.log(s2); // (s² − s⁴ʷ)/(2w − 1) without a difference
    const tilted = { mean: w * m / precision, variance: s2 / precision };
    const ode = {
      mean: w * m * s2 ** (w / 2) * integral((a) => (1 - k * a * a) ** (-1 - w / 2)), variance: s2 ** w };
    const sde = { mean: m * (1 - s2 ** w) / k,
      variance: -s2 * Math.log(s2) / k * (spread === 0 ? 1 : Math.expm1(spread) / spread) };
    return { w, tilted, ode, sde, klOde: divergence(ode, tilted), klSde: divergence(sde, tilted) };
  };

  const alt = "Three bell curves over x: the tilted density and the densities of guided samples of the "
    + "ODE and the SDE, with samples below them; the values stand in the text under the slider.";

  const draw = (svg, width) => {
    const state = read(), top = 12, height = 150, base = top + height;
    const toX = (x) => (x - LOW) / (HIGH - LOW) * width;
    layer ??= shape(svg, "g");
    layer.replaceChildren();
    const add = (tag, attributes, text) => shape(layer, tag, attributes, text);
    const line = (d, attributes) => add("path", { d, fill: "none", stroke: "currentColor", ...attributes });
    for (let x = LOW; x <= HIGH; x += 1) {
      line(`M${toX(x).toFixed(1)},${base}v5`);
      add("text", { x: Math.min(Math.max(toX(x), 10), width - 5).toFixed(1), y: base + 20,
        "text-anchor": "middle" }, `${x}`.replace("-", "−"));
    }
    line(`M0,${base}H${width}`);
    KINDS.forEach(({ name, label, colour, dash, mark }, row) => {
      const { mean, variance } = state[name], std = Math.sqrt(variance);
      // A fixed number of points over five standard deviations: a narrow curve is as smooth.
      const points = Array.from({ length: 101 }, (_, i) => (i - 50) / 10).map((z) => {
        const x = Math.min(Math.max(toX(mean + z * std), -1), width + 1);
        return `${x.toFixed(1)},${(base - height * Math.exp(-z * z / 2)).toFixed(1)}`;
      });
      line(`M${points.join("L")}`, { stroke: colour, "stroke-width": 2.2, "stroke-dasharray": dash });
      const y = base + 104 + row * 22;
      line(`M0,${y - 5}h30`, { stroke: colour, "stroke-width": 2.2, "stroke-dasharray": dash });
      add("text", { x: 38, y }, label);
      add("text", { x: 140, y }, `${number(mean, 3)} ± ${number(std, 3)}`);
      if (!mark) return;
      const at = (x, y) => (mark === "circle"
        ? `M${(x - 3).toFixed(1)},${y.toFixed(1)}a3,3 0 1 0 6,0a3,3 0 1 0 -6,0`
        : `M${(x - 2.5).toFixed(1)},${(y - 2.5).toFixed(1)}h5v5h-5z`);
      const marks = data.noise.map((noise, i) => // over the height of a row, so that more can be seen
        at(toX(mean + std * noise), base + 24 + 18 * row + 12 * (0.618 * i % 1 - 0.5)));
      add("path", { d: [at(15, y - 5), ...marks].join(""), fill: colour, "fill-opacity": 0.6 });
    });
    add("text", { x: Math.min(140, width - 205), y: base + 80 }, "mean ± standard deviation");
    return base + 156;
  };

  const pictureBox = element(box, "div");
  const controls = element(box, "div", { className: "live-controls" });
  let picture, layer;
  const changed = () => {
    picture?.redraw();
    const { w, klOde, klSde, ...kinds } = read();
    const parts = KINDS.map(({ name, label }) =>
      `${label} ${number(kinds[name].mean, 3)} ± ${number(Math.sqrt(kinds[name].variance), 3)}`);
    announce(`w = ${number(w)}, mean ± standard deviation: ${parts.join(", ")}. D[ODE‖tilted] = `
      + `${number(klOde, 3)} nats, D[SDE‖tilted] = ${number(klSde, 3)} nats.`);
  };
  const weight = liveFigures.slider(controls, { label: "guidance weight w", min: 0, max: data.last,
    step: 0.05, value: data.start, changed });
  const announce = liveFigures.status(box);
  picture = liveFigures.svg(pictureBox, alt, draw);
  changed();
  box.liveState = read;
});
