// Two Gaussians Q and p of one variable h, both divergences, and what is integrated in each.
liveFigures.define("two_gaussians", (box) => {
  const { blue, green, red } = liveFigures.colours;
  const { element, number, set, shape } = liveFigures;
  const LIMIT = 9; // the picture shows h from −9 to 9

  const logDensity = ({ mean, std }, h) =>
    -0.5 * ((h - mean) / std) ** 2 - Math.log(std * Math.sqrt(2 * Math.PI));

  // D[first ‖ second] in nats, in closed form.
  const divergence = (first, second) =>
    Math.log(second.std / first.std) - 0.5
    + (first.std ** 2 + (first.mean - second.mean) ** 2) / (2 * second.std ** 2);

  const integrand = (first, second, h) => {
    const logFirst = logDensity(first, h);
    return Math.exp(logFirst) * (logFirst - logDensity(second, h));
  };

  // Where the two densities are equal: the roots of a h² + b h + c, their log ratio.
  const crossings = (first, second) => {
    const a = 0.5 / second.std ** 2 - 0.5 / first.std ** 2;
    const b = first.mean / first.std ** 2 - second.mean / second.std ** 2;
    const c = logDensity(first, 0) - logDensity(second, 0);
    if (a === 0) return b === 0 ? [] : [-c / b];
    const half = -0.5 * (b + Math.sign(b || 1) * Math.sqrt(Math.max(0, b * b - 4 * a * c)));
    return half === 0 ? [0] : [half / a, c / half].sort((x, y) => x - y);
  };

  // The area under the integrand above zero, and the one below: Simpson's rule from one crossing to
  // the next, over twelve standard deviations of the first density on each side.
  const areas = (first, second) => {
    const [low, high] = [first.mean - 12 * first.std, first.mean + 12 * first.std];
    const inside = crossings(first, second).filter((h) => h > low && h < high);
    const ends = [low, ...inside, high], steps = 4000, found = { positive: 0, negative: 0 };
    for (let piece = 0; piece + 1 < ends.length; piece += 1) {
      const step = (ends[piece + 1] - ends[piece]) / steps;
      let sum = 0;
      for (let i = 0; i <= steps; i += 1) {
        const weight = i === 0 || i === steps ? 1 : 2 + 2 * (i % 2);
        sum += weight * integrand(first, second, ends[piece] + i * step);
      }
      found[sum > 0 ? "positive" : "negative"] += Math.abs(sum) * step / 3;
    }
    return found;
  };

  const read = () => {
    const [q, p] = ["q", "p"].map((name) => ({
      mean: inputs[`${name}Mean`].valueAsNumber, std: inputs[`${name}Std`].valueAsNumber }));
    return { q, p, klQp: divergence(q, p), klPq: divergence(p, q),
      areasQp: areas(q, p), areasPq: areas(p, q) };
  };

  // The picture: the densities above, and the two integrands side by side or below each other.
  const alt = "Two Gaussian densities Q and p, and below them the integrands of both divergences "
    + "with the areas above and below zero; the values stand in the text under the sliders.";

  const curve = (xs, ys) => "M" + xs.map((x, i) => `${x.toFixed(1)},${ys[i].toFixed(1)}`).join("L");

  const draw = (svg, width) => {
    const state = read(), { q, p } = state;
    const side = width >= 560, half = side ? (width - 24) / 2 : width;
    const top = { x: 0, y: 26, width, height: 150 };
    const panels = [0, 1].map((i) => ({
      x: side ? i * (half + 24) : 0, y: 264 + (side ? 0 : i * 206), width: half, height: 120 }));
    const grid = (panel) => Array.from({ length: Math.round(panel.width / 2) + 1 }, (_, i) => 2 * i);
    const toX = (panel, h) => panel.x + (h + LIMIT) / (2 * LIMIT) * panel.width;
    const toH = (panel, x) => (x - panel.x) / panel.width * 2 * LIMIT - LIMIT;
    layer ??= shape(svg, "g");
    layer.replaceChildren();

    const line = (d, attributes) =>
      shape(layer, "path", { d, fill: "none", stroke: "currentColor", "stroke-width": 1.5, ...attributes });
    const axis = (panel, y, most, least = 0) => {
      const round = 10 ** Math.floor(Math.log10(most)), factor = [5, 2, 1].find((n) => n * round <= most);
      const tick = panel.y + panel.height * (most - factor * round) / (most - least);
      line(`M${panel.x + 8},${tick.toFixed(1)}h-8V${y.toFixed(1)}`, { "stroke-width": 1 });
      shape(layer, "text", { x: panel.x + 12, y: (tick + 5).toFixed(1) }, `${+(factor * round).toPrecision(1)}`);
      line(`M${panel.x},${y.toFixed(1)}H${panel.x + panel.width}`, { "stroke-width": 1 });
      [-5, 0, 5].forEach((h) => {
        const x = toX(panel, h);
        line(`M${x.toFixed(1)},${panel.y + panel.height}v5`, { "stroke-width": 1 });
        shape(layer, "text", { x: x.toFixed(1), y: panel.y + panel.height + 20, "text-anchor": "middle" },
          `${h}`.replace("-", "−"));
      });
      shape(layer, "text", { x: panel.x + panel.width, y: panel.y + panel.height + 20,
        "text-anchor": "end", "font-style": "italic" }, "h");
    };

    // Densities, and their handles: a disc for the mean, a square for the width.
    const highest = Math.max(0.6, Math.exp(logDensity(q, q.mean)), Math.exp(logDensity(p, p.mean)));
    const toY = (value) => top.y + top.height * (1 - value / highest);
    axis(top, toY(0), highest);
    shape(layer, "text", { x: 0, y: 14 }, "densities");
    [["q", q, { stroke: blue, "stroke-width": 2.5 }],
      ["p", p, { "stroke-dasharray": "6 4", "stroke-width": 2 }]].forEach(([name, density, style]) => {
      const xs = grid(top);
      line(curve(xs, xs.map((x) => toY(Math.exp(logDensity(density, toH(top, x)))))), style);
      const colour = style.stroke || "currentColor";
      const [x, y] = [toX(top, density.mean), toY(Math.exp(logDensity(density, density.mean)))];
      const edge = density.mean + density.std;
      const [x2, y2] = [toX(top, edge), toY(Math.exp(logDensity(density, edge)))];
      shape(layer, "circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 6, fill: colour });
      shape(layer, "rect",
        { x: (x2 - 5).toFixed(1), y: (y2 - 5).toFixed(1), width: 10, height: 10, fill: colour });
      const outwards = (name === "q") === (q.mean < p.mean) ? -1 : 1; // away from the other one
      shape(layer, "text", { x: (x + 16 * outwards).toFixed(1), y: y.toFixed(1),
        "text-anchor": "middle", "font-style": "italic" }, name === "q" ? "Q" : "p");
      set(handles[`${name}Mean`], { cx: x, cy: y });
      set(handles[`${name}Std`], { cx: x2, cy: y2 });
    });

    // Integrands, on one scale, so that the areas can be compared.
    const pairs = [["Q‖p", q, p, state.klQp, state.areasQp], ["p‖Q", p, q, state.klPq, state.areasPq]];
    const values = pairs.map(([, first, second], i) =>
      grid(panels[i]).map((x) => integrand(first, second, toH(panels[i], panels[i].x + x))));
    const most = Math.max(0.1, ...values.flat()), least = Math.min(-0.05, ...values.flat());
    pairs.forEach(([name, , , kl, area], i) => {
      const panel = panels[i], xs = grid(panel).map((x) => panel.x + x);
      const y = (value) => panel.y + panel.height * (most - value) / (most - least);
      const fill = (f, colour) => line(`${curve(xs, values[i].map((value) => y(f(value, 0))))}`
        + `L${xs.at(-1).toFixed(1)},${y(0).toFixed(1)}L${xs[0].toFixed(1)},${y(0).toFixed(1)}Z`,
      { fill: colour, "fill-opacity": 0.45, stroke: "none" });
      fill(Math.max, red);
      fill(Math.min, green);
      line(curve(xs, values[i].map(y)));
      axis(panel, y(0), most, least);
      const title = shape(layer, "text", { x: panel.x, y: panel.y - 30 });
      shape(title, "tspan", { "font-weight": "bold" }, `𝒟[${name}] = ${number(kl, 4)} nats`);
      const parts = shape(layer, "text", { x: panel.x, y: panel.y - 11 });
      shape(parts, "tspan", {}, "area ");
      shape(parts, "tspan", { fill: red }, "■");
      shape(parts, "tspan", {}, ` +${number(area.positive, 4)}  `);
      shape(parts, "tspan", { fill: green }, "■");
      shape(parts, "tspan", {}, ` −${number(area.negative, 4)}`);
    });
    return panels[1].y + panels[1].height + 26;
  };

  // Sliders hold the state; a handle moves its slider.
  const pictureBox = element(box, "div");
  const controls = element(box, "div", { className: "live-controls" });
  const announce = liveFigures.status(box);
  const inputs = {}, handles = {};
  let picture, layer;
  const changed = () => {
    picture?.redraw();
    const { klQp, klPq, areasQp, areasPq } = read();
    const said = (name, kl, area) => `D[${name}] = ${number(kl, 4)} nats, the area `
      + `${number(area.positive, 4)} above zero minus ${number(area.negative, 4)} below.`;
    announce(`${said("Q‖p", klQp, areasQp)} ${said("p‖Q", klPq, areasPq)}`);
  };
  [["q", "Q", 0.5, 0.8], ["p", "p", -0.3, 1.5]].forEach(([name, letter, mean, std]) => {
    const range = { step: 0.01, changed };
    inputs[`${name}Mean`] = liveFigures.slider(controls,
      { ...range, label: `Mean of ${letter}`, min: -3, max: 3, value: mean });
    inputs[`${name}Std`] = liveFigures.slider(controls,
      { ...range, label: `Width of ${letter}`, min: 0.3, max: 2.5, value: std });
    ["Mean", "Std"].forEach((what) => {
      handles[name + what] = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      set(handles[name + what], { class: "handle", r: 16, fill: "transparent", "data-moves": name + what });
    });
  });
  picture = liveFigures.svg(pictureBox, alt, draw);
  picture.picture.append(...Object.values(handles)); // above all else
  Object.entries(handles).forEach(([name, handle]) => {
    liveFigures.drag(picture.picture, handle, (x) => {
      const h = x / pictureBox.clientWidth * 2 * LIMIT - LIMIT;
      inputs[name].move(name.endsWith("Std") ? Math.abs(h - inputs[`${name[0]}Mean`].valueAsNumber) : h);
    });
  });
  changed();
  box.liveState = read;
});
