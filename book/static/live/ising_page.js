// An Ising lattice that runs in the page, with averages, their errors, and an alarm where its
// symmetry is broken. The mathematics is in ising_page_model.js.
liveFigures.define("ising_page", (box, data) => {
  const FEWEST_BLOCKS = 16; // from which an error is shown
  const ALARM = { blocks: 32, errors: 6 };
  const ROWS = {
    energy: "energy per spin", exact: "… exact (Kaufman)", absM: "⟨|m|⟩", chi: "susceptibility χ",
    binder: "Binder cumulant", m: "⟨m⟩ (exact: 0)", counted: "sweeps counted",
  };
  const live = liveFigures, model = live.ising, { size } = data, random = live.random(data.seed);
  const spins = new Int8Array(size * size).fill(1);
  let blocks, unmeasured, found, sweeps; // `forget` sets them
  let running = false, alarm = false, next = 0, drawn = 0, written = 0, frames = 0, pictures = 0;

  const forget = () => { // what was measured; the next sweeps are not counted
    [blocks, unmeasured, found, sweeps] = [model.blockSums(), data.left, null, 0];
  };
  const sweep = () => {
    const update = method.value === "clusters" ? model.clusters : model.metropolis;
    update(spins, size, heat.valueAsNumber, random);
    if (unmeasured > 0) unmeasured -= 1;
    else {
      sweeps += 1;
      model.record(blocks, model.measure(spins, size));
    }
  };
  const exactEnergy = () =>
    data.energies[Math.round((heat.valueAsNumber - data.first) / data.step)];

  // The lattice with what moves it, and beside it what was measured.
  const top = live.element(box, "div", { className: "live-controls" });
  const left = live.element(top, "div"), right = live.element(top, "div");
  const holder = live.element(left, "div");
  holder.style.maxWidth = "17rem";
  const buttons = live.element(left, "div", { className: "live-buttons" });
  const button = (textContent, pressed) => {
    const added = live.element(buttons, "button", { type: "button", textContent });
    added.addEventListener("click", pressed);
    return added;
  };
  const run = button("Run", () => {
    running = !running;
    run.textContent = running ? "Pause" : "Run";
    cancelAnimationFrame(next);
    if (running) next = requestAnimationFrame(frame);
    show();
  });
  button("One sweep", () => { sweep(); show(); });
  const restart = (spin) => () => {
    spins.forEach((_, i) => { spins[i] = spin(); });
    forget();
    show();
  };
  button("Reset: all up", restart(() => 1));
  button("Reset: random", restart(() => (random() < 0.5 ? 1 : -1)));
  const heat = live.slider(left, {
    label: "temperature", min: data.first, max: data.last, step: data.step, value: data.start,
    changed: () => { forget(); show(); } });
  const choice = (label, options, changed) => {
    const row = live.element(left, "label", { className: "live-slider" });
    live.element(row, "span", { textContent: label });
    const select = live.element(row, "select");
    options.forEach((each) =>
      live.element(select, "option", { value: each.toLowerCase(), textContent: each }));
    select.addEventListener("change", changed);
    return select;
  };
  const method = choice("updates", ["clusters", "Metropolis"], () => { forget(); show(); });
  const speed = choice("sweeps a picture", ["1", "10", "100"], () => {});

  // A lattice: one pixel for each spin that is up, then enlarged; `spinsNow()` are those to draw.
  const picture = (parent, alt, side, spinsNow) => {
    const small = Object.assign(document.createElement("canvas"), { width: side, height: side });
    return live.canvas(parent, alt, (width) => width, (context, width, _, ink) => {
      const image = new ImageData(side, side), rgb = ink.match(/\d+/g).slice(0, 3).map(Number);
      spinsNow().forEach((spin, i) => image.data.set([...rgb, spin > 0 ? 255 : 0], 4 * i));
      small.getContext("2d").putImageData(image, 0, 0);
      Object.assign(context, { imageSmoothingEnabled: false, strokeStyle: ink });
      context.drawImage(small, 0, 0, width, width);
      context.strokeRect(0.5, 0.5, width - 1, width - 1);
    });
  };
  const lattice = picture(holder, "The lattice of spins.", size, () => spins);
  const table = live.element(right, "table"), rows = live.element(table, "tbody");
  Object.assign(table.style, { width: "100%", fontSize: "0.9rem", textAlign: "left" });
  const values = Object.fromEntries(Object.entries(ROWS).map(([name, label]) => {
    const row = live.element(rows, "tr");
    live.element(row, "th", { scope: "row", textContent: label });
    return [name, live.element(row, "td")];
  }));
  const curve = live.svg(right, "Kaufman's energy against the temperature, and the measured energy " +
    "as a point with its error.", (picture, width) => {
    picture.replaceChildren();
    const { first, last, step, energies } = data, [bottom, top] = [energies[0], energies.at(-1)];
    const x = (T) => 38 + (T - first) / (last - first) * (width - 54);
    const y = (u) => 10 + (top - u) / (top - bottom) * 86;
    const line = energies.map((u, k) => `${x(first + k * step)},${y(u)}`).join(" ");
    const T = x(heat.valueAsNumber), ink = "currentColor", colour = live.colours.orange;
    live.shape(picture, "polyline", { points: line, fill: "none", stroke: ink });
    live.shape(picture, "path", { d: `M${T} 18V100`, stroke: ink, "stroke-opacity": 0.4 });
    if (found) {
      const [u, error] = found.energy;
      live.shape(picture, "circle", { cx: T, cy: y(u), r: 4, fill: colour });
      live.shape(picture, "path", { d: `M${T} ${y(u - error)}V${y(u + error)}`, stroke: colour });
    }
    const write = (x, y, anchor, text) =>
      live.shape(picture, "text", { x, y, "text-anchor": anchor }, text);
    [first, 2, 2.5, 3, last].forEach((t) => write(x(t), 114, "middle", live.number(t, 1)));
    write(x((first + last) / 2), 131, "middle", "temperature");
    write(x(first) + 6, y(top) + 4, "start", "energy per spin");
    write(34, y(top) + 4, "end", live.number(top, 1));
    write(34, y(bottom) + 4, "end", live.number(bottom, 1));
    return 136;
  });

  // Samples of a trained network at three temperatures, with their mean energy.
  let sample = 0;
  const trained = data.model.samples.map((each) => each.map(model.unpack));
  const meanEnergies = trained.map((each) =>
    model.meanAndError(each.map((x) => model.measure(x, data.model.size)[4])));
  const many = trained[0].length, trays = live.element(right, "div");
  trays.style.cssText = "margin: 0.5rem 0; font-size: 0.85rem; line-height: 1.4";
  live.element(trays, "p", {
    textContent: `A trained network, 16 × 16 spins; mean energies per spin of ${many} samples:` });
  const shelf = live.element(trays, "div"), another = live.element(right, "button", {
    type: "button", textContent: "Next samples" });
  shelf.style.cssText = "display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 0.6rem";
  const samples = trained.map((each, k) => {
    const place = live.element(shelf, "div"), T = live.number(data.model.temperatures[k]);
    const shown = picture(live.element(place, "div"), `A sample of the network at T = ${T}.`,
      data.model.size, () => each[sample]);
    [`T = ${T}`, meanEnergies[k].map((value) => live.number(value)).join(" ± "),
      `exact ${live.number(data.model.energies[k])}`].forEach((textContent) =>
      live.element(place, "div", { textContent }));
    return shown;
  });
  const warning = live.set(live.element(box, "p"), { role: "alert" });
  const announce = live.status(box);

  const text = (name, digits = 3) =>
    found[name].map((value) => live.number(value, digits)).join(" ± ");
  const estimate = () => {
    const number = blocks.full.length;
    found = number < FEWEST_BLOCKS ? null : model.estimate(blocks, size);
    const isBroken = number >= ALARM.blocks && Math.abs(found.m[0]) > ALARM.errors * found.m[1];
    if (isBroken !== alarm) {
      alarm = isBroken;
      warning.textContent = !alarm ? "" : `⚠ Alarm: ⟨m⟩ is more than ${ALARM.errors} errors from ` +
        "zero, which it is by symmetry. The chain has kept one sign; the other is missing.";
    }
    ["energy", "absM", "chi", "binder", "m"].forEach((name) => {
      values[name].textContent = found ? text(name, name === "chi" ? 1 : 3) : "–";
    });
    values.exact.textContent = live.number(exactEnergy(), 4);
    values.counted.textContent = unmeasured > 0 ? `none, ${unmeasured} to wait`
      : `${sweeps}, in blocks of ${blocks.length}`;
  };
  const show = () => { // all of it, after what the reader does
    estimate();
    lattice.redraw();
    curve.redraw();
    const T = `T = ${live.number(heat.valueAsNumber)}`;
    announce(running ? `Running at ${T}.` : found ? `${T}, after ${sweeps} sweeps: energy ` +
      `${text("energy")}, exact ${values.exact.textContent}; ⟨|m|⟩ = ${text("absM")}.`
      : `${T}: not enough sweeps for an error.`);
  };
  another.addEventListener("click", () => {
    sample = (sample + 1) % many;
    samples.forEach(({ redraw }) => redraw());
    announce(`Sample ${sample + 1} of ${many} of the network at each temperature.`);
  });
  // Clusters may turn all spins in each sweep: at most two pictures a second, so that none flashes.
  const pause = () =>
    (method.value === "clusters" || speed.value === "100" || live.reducedMotion() ? 500 : 0);
  const frame = (now) => {
    next = requestAnimationFrame(frame);
    const { top: above, bottom: below } = box.getBoundingClientRect();
    if (below < 0 || above > window.innerHeight) return; // out of sight
    for (let i = 0; i < Number(speed.value); i++) sweep();
    frames += 1;
    if (now - drawn < pause()) return;
    drawn = now;
    pictures += 1;
    lattice.redraw();
    if (now - written < 250) return; // so that numbers can be read
    written = now;
    estimate();
    curve.redraw();
  };
  forget();
  for (let i = 0; i < data.left; i++) sweep(); // from all spins up
  show();
  box.liveState = () => ({
    temperature: heat.valueAsNumber, exact: exactEnergy(), sweeps, unmeasured, frames, pictures,
    blocks: blocks.full.length, blockLength: blocks.length, running: Number(running),
    alarm: Number(alarm), sample, meanEnergies, spins: Array.from(spins),
    ...(blocks.full.length < FEWEST_BLOCKS ? {} : model.estimate(blocks, size)),
  });
});
