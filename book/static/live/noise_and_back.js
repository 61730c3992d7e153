// Noise and back for a Gaussian mixture in the plane: DDIM beside ancestral sampling, from the same
// noise. The mathematics is in noise_and_back_model.js.
liveFigures.define("noise_and_back", (box, data) => {
  const live = liveFigures, { noisy, look, ddimStep, ancestralStep } = live.diffusion;
  const last = data.alphaBars.length - 1, { edge } = data;
  const levels = data.alphaBars.map((alphaBar) => noisy(data, alphaBar));
  let seed = data.seed, frames = 0, playing = 0;

  // All points at all times: paths[t][i].
  const pathsBy = (step) => {
    const random = live.random(seed), paths = [];
    paths[last] = data.noise;
    for (let t = last; t > 0; t--) {
      paths[t - 1] = paths[t].map((x) => step(
        x, look(levels[t], ...x).denoised, data.alphaBars[t], data.alphaBars[t - 1], random));
    }
    return paths;
  };
  const panels = [
    { name: "DDIM", colour: live.colours.blue, step: ddimStep },
    { name: "ancestral", colour: live.colours.orange, step: ancestralStep },
  ].map((panel) => ({ ...panel, paths: pathsBy(panel.step) }));

  // The density of x_t as a small grey image, one cell a pixel; made once for each t and colour.
  const shades = {};
  const shade = (t, colour) => {
    const key = `${t} ${colour}`;
    if (shades[key]) return shades[key];
    const size = 75, image = new ImageData(size, size), logs = new Float64Array(size * size);
    logs.forEach((_, k) => {
      const row = Math.floor(k / size), column = k % size;
      logs[k] = look(levels[t], ((column + 0.5) / size * 2 - 1) * edge,
                     (1 - (row + 0.5) / size * 2) * edge).log;
    });
    const top = logs.reduce((a, b) => Math.max(a, b)), rgb = colour.match(/\d+/g).map(Number);
    logs.forEach((log, k) => image.data.set([...rgb.slice(0, 3), 90 * Math.exp(log - top)], 4 * k));
    const small = Object.assign(document.createElement("canvas"), { width: size, height: size });
    small.getContext("2d").putImageData(image, 0, 0);
    return (shades[key] = small);
  };

  const drawPanel = ({ name, colour, paths }, context, size, ink) => {
    const place = ([x, y]) => [size / 2 * (1 + x / edge), size / 2 * (1 - y / edge)];
    const t = time.valueAsNumber, i = path.valueAsNumber - 1, cell = 2 * edge / data.arrows;
    context.drawImage(shade(t, ink), 0, 0, size, size);
    Object.assign(context, { strokeStyle: ink, fillStyle: ink, globalAlpha: 0.55, lineWidth: 1 });
    for (let k = 0; arrows.checked && k < data.arrows ** 2; k++) {
      const x = (k % data.arrows + 0.5) * cell - edge;
      const y = (Math.floor(k / data.arrows) + 0.5) * cell - edge;
      const { score: [u, v] } = look(levels[t], x, y), scale = cell / (2 + Math.hypot(u, v));
      const tip = place([x + scale * u, y + scale * v]);
      context.beginPath();
      context.moveTo(...place([x, y]));
      context.lineTo(...tip);
      context.stroke();
      context.fillRect(tip[0] - 1.5, tip[1] - 1.5, 3, 3);
    }
    Object.assign(context, { globalAlpha: 0.6, fillStyle: colour });
    const mark = ([x, y], r) => { // DDIM has discs, ancestral sampling squares
      context.beginPath();
      if (name === "DDIM") context.arc(x, y, r, 0, 7);
      else context.rect(x - r, y - r, 2 * r, 2 * r);
      context.fill();
    };
    paths[t].forEach((x) => mark(place(x), size / 100));
    Object.assign(context, { globalAlpha: 1, lineWidth: 1.6 });
    mark(place(paths[t][i]), size / 50);
    context.beginPath();
    for (let at = t; at <= last; at++) context.lineTo(...place(paths[at][i]));
    context.stroke();
    context.strokeRect(0.5, 0.5, size - 1, size - 1);
  };

  const row = live.element(box, "div", { className: "live-controls" });
  row.style.gridTemplateColumns = "1fr 1fr";
  row.style.gap = "1rem";
  const holders = panels.map(({ name }) => {
    const holder = live.element(row, "div");
    live.element(holder, "div", { textContent: name }).style.textAlign = "center";
    return holder;
  });
  const controls = live.element(box, "div", { className: "live-controls" });
  const time = live.slider(controls, {
    label: "time t (0: data)", min: 0, max: last, step: 1, value: data.start,
    format: String, changed: () => update() });
  const path = live.slider(controls, {
    label: "path shown", min: 1, max: data.noise.length, step: 1, value: data.chosen,
    format: String, changed: () => update() });
  const buttons = live.element(box, "div", { className: "live-buttons" });
  const button = (textContent) => live.element(buttons, "button", { type: "button", textContent });
  const play = button("From noise to data"), kicks = button("New kicks");
  const label = live.element(buttons, "label", { textContent: " score arrows" });
  const arrows = live.element(label, "input", { type: "checkbox", checked: true });
  label.prepend(arrows);
  const announce = live.status(box);

  panels.forEach((panel, k) => {
    const alt = `Points of ${panel.name} among arrows of the score; the path shown as a line.`;
    Object.assign(panel, live.canvas(holders[k], alt, (width) => width,
      (context, size, _, ink) => { frames += 1; drawPanel(panel, context, size, ink); }));
    panel.picture.addEventListener("click", ({ offsetX, offsetY }) => { // the nearest point
      const size = panel.picture.clientWidth, t = time.valueAsNumber;
      const x = (offsetX / size * 2 - 1) * edge, y = (1 - offsetY / size * 2) * edge;
      const far = panel.paths[t].map(([u, v]) => Math.hypot(u - x, v - y));
      path.move(far.indexOf(Math.min(...far)) + 1);
    });
  });

  const update = () => {
    panels.forEach(({ redraw }) => redraw());
    const t = time.valueAsNumber, i = path.valueAsNumber - 1, number = live.number;
    const ends = panels.map(({ name, paths }) =>
      `${name} at (${paths[t][i].map((x) => number(x)).join(", ")})`);
    const say = playing ? announce.silently : announce; // at the end it is read aloud
    say(`t = ${t}, ᾱ = ${number(data.alphaBars[t], 3)}. Path ${i + 1}: ${ends.join(", ")}.`);
  };
  const stop = () => {
    cancelAnimationFrame(playing);
    playing = 0;
    update();
  };
  play.addEventListener("click", () => {
    stop();
    if (live.reducedMotion()) return time.move(0);
    const began = performance.now();
    const frame = () => { // 4 seconds from T to 0
      const t = Math.max(0, Math.round(last * (1 - (performance.now() - began) / 4000)));
      playing = t > 0 ? requestAnimationFrame(frame) : 0;
      time.move(t);
    };
    frame();
  });
  time.addEventListener("pointerdown", stop);
  time.addEventListener("keydown", stop);
  kicks.addEventListener("click", () => {
    seed += 1;
    panels[1].paths = pathsBy(panels[1].step);
    update();
  });
  arrows.addEventListener("change", update);
  update();
  box.liveState = () => {
    const t = time.valueAsNumber, i = path.valueAsNumber - 1;
    return {
      t, alphaBar: data.alphaBars[t], path: i + 1, seed, frames,
      ddim: panels[0].paths[t], ancestral: panels[1].paths[t],
      score: look(levels[t], ...panels[0].paths[t][i]).score,
      logDensity: look(levels[t], ...panels[0].paths[t][i]).log,
    };
  };
});
