// The latent plane of a VAE: the reader moves a point, and the page decodes it. The decoder is in
// latent_plane_model.js.
liveFigures.define("latent_plane", (box, data) => {
  const STEP = 0.05; // of the arrow keys in the plane; five times that with Shift
  const live = liveFigures, { edge } = data, decode = live.latentDecoder(data.weights);
  const small = Object.assign(document.createElement("canvas"), { width: 28, height: 28 });
  let pixels, pictures = 0;

  const read = () => [inputs.first.valueAsNumber, inputs.second.valueAsNumber];
  const move = (h1, h2) => { inputs.first.move(h1); inputs.second.move(h2); };
  const nearest = () => { // the class of the nearest test digit in the plane
    const [h1, h2] = read();
    const far = data.means.map((means) => Math.min(...means.map(([u, v]) => Math.hypot(u - h1, v - h2))));
    return far.indexOf(Math.min(...far));
  };

  // Sliders hold the state; the point and the arrow keys in the plane move them.
  const top = live.element(box, "div", { className: "live-controls" });
  const plane = live.element(top, "div", { className: "live-plane", tabIndex: 0 });
  live.set(plane, { role: "group", "aria-label": "Latent plane: the arrow keys move the point." });
  const holder = live.element(top, "div", { className: "live-digit" });
  const controls = live.element(box, "div", { className: "live-controls" });
  const changed = () => {
    const [h1, h2] = read();
    Object.assign(point.style,
      { left: `${50 * (1 + h1 / edge)}%`, top: `${50 * (1 - h2 / edge)}%` });
    digit?.redraw();
    announce(`Decoded at h = (${live.number(h1)}, ${live.number(h2)}). The nearest test digit in the `
      + `plane is a ${nearest()}. Held-out −ELBO of this model: ${live.number(data.loss[0])} ± `
      + `${live.number(data.loss[1])} nats.`);
  };
  const slider = (label, value) => live.slider(controls,
    { label, min: -edge, max: edge, step: 0.01, value, changed });
  const inputs = { first: slider("h₁", data.start[0]), second: slider("h₂", data.start[1]) };
  const announce = live.status(box);

  // Test digits: each is written as its class, in the colour of the class, which is mixed with that
  // of the page's text so that it can be read on a light page and on a dark one.
  const colours = (ink) => data.colours.map((colour) => `color-mix(in srgb, ${colour} 65%, ${ink})`);
  live.canvas(plane, "Test digits in the latent plane, each written as its class.", (width) => width,
    (context, size, _, ink) => {
      const place = (h) => size / 2 * (1 + h / edge);
      Object.assign(context, { strokeStyle: ink, globalAlpha: 0.3 });
      context.strokeRect(0.5, 0.5, size - 1, size - 1);
      context.strokeRect(-1, -1, size / 2 + 1, size + 2); // the axes
      context.strokeRect(-1, -1, size + 2, size / 2 + 1);
      Object.assign(context, { globalAlpha: 1, font: "bold 12px sans-serif", textAlign: "center",
        textBaseline: "middle" });
      const mixed = colours(ink);
      data.means.forEach((means, digit) => {
        context.fillStyle = mixed[digit];
        means.forEach(([u, v]) => context.fillText(digit, place(u), place(-v)));
      });
    });
  const point = live.element(plane, "div", { className: "live-point handle" });
  const digit = live.canvas(holder, "The digit that is decoded at the point.", (width) => width,
    (context, size) => {
      pixels = decode(read());
      pictures += 1;
      const image = new ImageData(28, 28);
      pixels.forEach((value, i) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i));
      small.getContext("2d").putImageData(image, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(small, 0, 0, size, size);
    });

  const toPlane = (x, y) => { // from pixels
    const size = plane.clientWidth;
    move((2 * x / size - 1) * edge, (1 - 2 * y / size) * edge);
  };
  live.drag(plane, point, toPlane);
  plane.addEventListener("click", ({ clientX, clientY }) => {
    const { left, top: above } = plane.getBoundingClientRect();
    toPlane(clientX - left, clientY - above);
  });
  plane.addEventListener("keydown", (event) => {
    const [right, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1],
      ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (!right && !up) return;
    event.preventDefault(); // the page does not scroll
    const [h1, h2] = read(), step = event.shiftKey ? 5 * STEP : STEP;
    move(h1 + step * right, h2 + step * up);
  });
  changed();
  box.liveState = () => ({ h: read(), pixels: Array.from(pixels), nearest: nearest(), pictures,
    colours: colours(getComputedStyle(box).color) });
});
