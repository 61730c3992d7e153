// The bound in the linear-Gaussian model: a Q that the reader moves, its ELBO and the gap.
liveFigures.define("elbo_bar", (box, model) => {
  const { blue, green, red } = liveFigures.colours;
  const { element, number, set, shape } = liveFigures;
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const [[a, b], [, d]] = model.posterior_cov;
  const det = a * d - b * b;
  const root = [[Math.sqrt(a), 0], [b / Math.sqrt(a), Math.sqrt(det / a)]]; // lower triangular
  const centre = model.posterior_mean;

  // Half the squared distance from the posterior's mean, in its standard deviations.
  const halfSquare = ([h1, h2]) => {
    const [x, y] = [h1 - centre[0], h2 - centre[1]];
    return (d * x * x - 2 * b * x * y + a * y * y) / (2 * det);
  };

  // For Q = N(mean, factor² Σ), with Σ the posterior's covariance, in nats. The ELBO is computed
  // without the posterior's mean and log p(x), the gap without the ELBO.
  const read = () => {
    const mean = [inputs.first.valueAsNumber, inputs.second.valueAsNumber];
    const factor = inputs.factor.valueAsNumber, variance = model.noise_std ** 2;
    const decoded = model.weights.map(([u, v], i) => u * mean[0] + v * mean[1] + model.bias[i]);
    const squared = sum(model.x.map((x, i) => (x - decoded[i]) ** 2));
    const spread = sum(model.weights.map(([u, v]) => u * u * a + 2 * u * v * b + v * v * d));
    const expected = -0.5 * (model.x.length * Math.log(2 * Math.PI * variance)
      + (squared + factor ** 2 * spread) / variance);
    const kl = 0.5 * (factor ** 2 * (a + d) + sum(mean.map((m) => m * m)) - 2
      - Math.log(factor ** 4 * det));
    const gap = factor ** 2 - 1 - 2 * Math.log(factor) + halfSquare(mean);
    return { mean, factor, expected, kl, elbo: expected - kl, gap, logEvidence: model.log_evidence };
  };

  const alt = "The plane of the latent variable with the prior, the posterior and Q, and bars for "
    + "the terms of the bound; the values stand in the text under the sliders.";

  // The plane: h₁ from −4.7 to 2.1, h₂ from −3.4 to 2.6, one scale for both.
  const [left, above, wide, high] = [-4.7, 2.6, 6.8, 6];
  const scale = (width) => (width >= 560 ? 0.46 * width : width) / wide;

  const drawPlane = (svg, width) => {
    const unit = scale(width), { mean, factor } = read();
    const at = ([h1, h2]) => [(h1 - left) * unit, (above - h2) * unit];
    const plane = shape(svg, "svg", { width: (wide * unit).toFixed(1), height: (high * unit).toFixed(1) });
    const ellipse = (middle, [[l11], [l21, l22]], size, attributes) => {
      const points = Array.from({ length: 72 }, (_, i) => {
        const [cos, sin] = [Math.cos(i * Math.PI / 36), Math.sin(i * Math.PI / 36)];
        return at([middle[0] + size * l11 * cos, middle[1] + size * (l21 * cos + l22 * sin)]);
      });
      const d = `M${points.map((point) => point.map((v) => v.toFixed(1)).join(",")).join("L")}Z`;
      shape(plane, "path", { d, fill: "none", stroke: "currentColor", "stroke-width": 2, ...attributes });
    };
    const write = ([x, y], text, attributes) => shape(plane, "text",
      { x: x.toFixed(1), y: y.toFixed(1), "text-anchor": "middle", ...attributes }, text);
    const [x0, y0] = at([0, 0]);
    shape(plane, "path", { d: `M0,${y0.toFixed(1)}H${width}M${x0.toFixed(1)},0V${high * unit}`,
      stroke: "currentColor", "stroke-opacity": 0.35 });
    write([wide * unit - 12, y0 - 6], "h₁", { "font-style": "italic" });
    write([x0 + 14, 14], "h₂", { "font-style": "italic" });
    ellipse([0, 0], [[1], [0, 1]], 1, { "stroke-dasharray": "2 4" });
    ellipse(centre, root, 1, {});
    ellipse(mean, root, factor, { stroke: blue, fill: blue, "fill-opacity": 0.2, "stroke-dasharray": "7 4" });
    write(at([0.75, 0.85]), "prior", { "text-anchor": "start" });
    write(at([centre[0] - 0.5, centre[1] + 0.75]), "posterior", { "text-anchor": "end" });
    const [x, y] = at(mean);
    const [x2, y2] = at([mean[0] + factor * root[0][0], mean[1] + factor * root[1][0]]);
    shape(plane, "circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 6, fill: blue });
    shape(plane, "rect",
      { x: (x2 - 5).toFixed(1), y: (y2 - 5).toFixed(1), width: 10, height: 10, fill: blue });
    write([x, y - 11], "Q", { "font-style": "italic" });
    set(handles.mean, { cx: x, cy: y });
    set(handles.factor, { cx: x2, cy: y2 });
    return [wide * unit, high * unit];
  };

  // The bars: nats from −17.5 to −1.5, which holds every Q that can be set.
  const drawBars = (svg, x, y, width) => {
    const { expected, kl, elbo, gap, logEvidence } = read();
    const at = (nats) => x + (nats + 17.5) / 16 * width;
    const bar = (from, to, top, colour) => shape(svg, "rect", { x: from.toFixed(1), y: top,
      width: Math.max(0, to - from).toFixed(1), height: 22, fill: colour, "fill-opacity": 0.3, stroke: colour });
    const write = (place, top, text, attributes) =>
      shape(svg, "text", { x: place.toFixed(1), y: top, ...attributes }, text);
    const line = (d, attributes) => shape(svg, "path", { d, fill: "none", stroke: "currentColor", ...attributes });
    const end = at(logEvidence);
    write(end, y + 14, `log p(𝐱) = ${number(logEvidence, 3)}`, { "text-anchor": "middle" });
    write(x, y + 48, `E[log p(𝐱|𝐡)] = ${number(expected, 3)}`);
    bar(x, at(expected), y + 54, green);
    write(x, y + 98, `− 𝒟[Q‖p(𝐡)] = −${number(kl, 3)}`);
    line(`M${at(expected).toFixed(1)},${y + 76}V${y + 116}M${at(elbo).toFixed(1)},${y + 106}V${y + 154}`,
      { "stroke-dasharray": "2 3" });
    const tip = Math.min(6, at(expected) - at(elbo));
    line(`M${at(expected).toFixed(1)},${y + 111}H${at(elbo).toFixed(1)}m${tip},-5l-${tip},5l${tip},5`,
      { stroke: red, "stroke-width": 2 });
    write(x, y + 146, `ELBO = ${number(elbo, 3)}`);
    bar(x, at(elbo), y + 154, blue);
    bar(at(elbo), end, y + 154, red);
    write(x + width, y + 198, `gap 𝒟[Q‖p(𝐡|𝐱)] = ${number(gap, 3)}`, { "text-anchor": "end" });
    line(`M${end.toFixed(1)},${y + 22}V${y + 182}`, { "stroke-width": 2.5 });
    line(`M${x.toFixed(1)},${y + 212}h${width.toFixed(1)}`);
    [-16, -12, -8, -4].forEach((nats) => {
      line(`M${at(nats).toFixed(1)},${y + 212}v5`);
      write(at(nats), y + 232, `−${-nats}`, { "text-anchor": "middle" });
    });
    write(x + width, y + 232, "nats", { "text-anchor": "end" });
  };

  const draw = (svg, width) => {
    layer ??= shape(svg, "g");
    layer.replaceChildren();
    const [planeWidth, planeHeight] = drawPlane(layer, width);
    const side = planeWidth < width;
    drawBars(layer, side ? planeWidth + 28 : 1, side ? 8 : planeHeight + 10,
      side ? width - planeWidth - 29 : width - 2);
    return side ? Math.max(planeHeight, 250) : planeHeight + 250;
  };

  // Sliders hold the state; a handle moves its sliders.
  const pictureBox = element(box, "div");
  const controls = element(box, "div", { className: "live-controls" });
  const inputs = {}, handles = {};
  let picture, layer;
  const changed = () => {
    picture?.redraw();
    const { expected, kl, elbo, gap, logEvidence } = read();
    announce(`ELBO = E[log p(x|h)] − D[Q‖p(h)] = ${number(expected, 3)} − ${number(kl, 3)} = `
      + `${number(elbo, 3)} nats. log p(x) = ELBO + gap = ${number(elbo, 3)} + ${number(gap, 3)} = `
      + `${number(logEvidence, 3)} nats.`);
  };
  const slider = (label, min, max, value) =>
    liveFigures.slider(controls, { label, min, max, step: 0.01, value, changed });
  inputs.first = slider("Mean of Q, h₁", centre[0] - 1.8, centre[0] + 1.8, centre[0] + 0.9);
  inputs.second = slider("Mean of Q, h₂", centre[1] - 1.8, centre[1] + 1.8, centre[1] - 1.2);
  inputs.factor = slider("Width of Q", 0.3, 2.5, 1.4);
  const button = element(controls, "button", { type: "button", textContent: "Set Q to the posterior" });
  const announce = liveFigures.status(box);
  ["mean", "factor"].forEach((name) => {
    handles[name] = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    set(handles[name], { class: "handle", r: 16, fill: "transparent", "data-moves": name });
  });
  picture = liveFigures.svg(pictureBox, alt, draw);
  picture.picture.append(...Object.values(handles)); // above all else
  const point = (x, y) =>
    [x / scale(pictureBox.clientWidth) + left, above - y / scale(pictureBox.clientWidth)];
  const moveMean = ([h1, h2]) => { inputs.first.move(h1); inputs.second.move(h2); };
  liveFigures.drag(picture.picture, handles.mean, (x, y) => moveMean(point(x, y)));
  liveFigures.drag(picture.picture, handles.factor, (x, y) => {
    const [h1, h2] = point(x, y), { mean } = read();
    inputs.factor.move(Math.sqrt(2 * halfSquare([centre[0] + h1 - mean[0], centre[1] + h2 - mean[1]])));
  });
  button.addEventListener("click", () => { moveMean(centre); inputs.factor.move(1); });
  changed();
  box.liveState = read;
});
