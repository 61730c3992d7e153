// What figures that a reader moves have in common. A figure is
//
//     liveFigures.define("name", (box, data) => { … });
//
// The function fills `box`, a <div> below the still drawing, and sets `box.liveState`, a function
// that returns the figure's numbers. The drawing is hidden once the function has returned; if it
// throws, the drawing stays. `data` is what the build has written, or undefined.
window.liveFigures = (() => {
  const starts = {};
  let sliders = 0;
  const live = {
    data: {},
    // One quantity has one colour in the book; text and lines are currentColor.
    colours: { blue: "#3b82c4", orange: "#c8741f", green: "#3a9d5d", red: "#d1495b" },
    define: (name, start) => { starts[name] = start; },
    reducedMotion: () => window.matchMedia("(prefers-reduced-motion: reduce)").matches,
  };

  // Add an HTML element to a parent.
  live.element = (parent, tag, properties = {}) =>
    parent.appendChild(Object.assign(document.createElement(tag), properties));

  // Add an SVG element to a parent, or change the attributes and the text of one.
  live.shape = (parent, tag, attributes = {}, text) => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", tag);
    return live.set(parent.appendChild(shape), attributes, text);
  };
  live.set = (shape, attributes, text) => {
    Object.entries(attributes).forEach(([name, value]) => shape.setAttribute(name, value));
    if (text !== undefined) shape.textContent = text;
    return shape;
  };

  // Write a number with a minus sign that is as wide as a plus.
  live.number = (value, digits = 2) => value.toFixed(digits).replace(/^-(?=.*[1-9])/, "−").replace("-", "");

  // Return a function that draws from [0, 1): sfc32 by Chris Doty-Humphrey. The seed is an integer.
  live.random = (seed) => {
    let [a, b, c, count] = [0, seed | 0, 0, 1];
    const random = () => {
      const drawn = (a + b + count) | 0;
      count = (count + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + drawn) | 0;
      return (drawn >>> 0) / 4294967296;
    };
    for (let i = 0; i < 15; i += 1) random();
    return random;
  };

  // Return a function that calls `draw` in the next frame, once, however often it is called.
  live.oncePerFrame = (draw) => {
    let waiting = false;
    return () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    };
  };

  // Call `draw(width)` at once and whenever the box gets another width or the page other colours;
  // return a function that asks for a new drawing.
  const follow = (box, draw) => {
    const redraw = live.oncePerFrame(() => draw(box.clientWidth || 640));
    new ResizeObserver(redraw).observe(box);
    new MutationObserver(redraw).observe(
      document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    draw(box.clientWidth || 640);
    return redraw;
  };

  // Add an SVG picture whose unit is one pixel of the page; `draw(svg, width)` fills it and returns
  // its height. Returns {picture, redraw}.
  live.svg = (box, alt, draw) => {
    const picture = live.shape(box, "svg", { role: "img", "aria-label": alt, class: "live-picture" });
    live.set(picture, { "font-family": "sans-serif", "font-size": 14, fill: "currentColor" });
    const redraw = follow(box, (width) => {
      const height = draw(picture, width);
      live.set(picture, { viewBox: `0 0 ${width} ${height}`, width, height });
    });
    return { picture, redraw };
  };

  // Add a canvas of `heightOf(width)` pixels of the page; `draw(context, width, height, colour)`
  // fills it, where colour is that of the page's text. Returns {picture, redraw}.
  live.canvas = (box, alt, heightOf, draw) => {
    const picture = live.element(box, "canvas", { className: "live-picture" });
    live.set(picture, { role: "img", "aria-label": alt });
    const redraw = follow(box, (width) => {
      const height = heightOf(width), ratio = window.devicePixelRatio || 1;
      if (picture.width !== Math.round(width * ratio)) {
        Object.assign(picture, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
        Object.assign(picture.style, { width: `${width}px`, height: `${height}px` });
      }
      const context = picture.getContext("2d");
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      draw(context, width, height, getComputedStyle(box).color);
    });
    return { picture, redraw };
  };

  // Call `moved(x, y)`, in pixels of the picture, while a pointer drags the handle, a part of it.
  live.drag = (picture, handle, moved) => {
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const frame = picture.getBoundingClientRect();
      moved(event.clientX - frame.left, event.clientY - frame.top);
    });
  };

  // Add a labelled range input with its value beside it; `changed()` is called at each change.
  // Returns the input; `input.move(value)` sets it as a reader would.
  live.slider = (parent, { label, min, max, step, value, format = live.number, changed }) => {
    const id = `live-${(sliders += 1)}`;
    const row = live.element(parent, "div", { className: "live-slider" });
    live.element(row, "label", { htmlFor: id, textContent: label });
    const input = live.element(row, "input", { type: "range", id });
    Object.assign(input, { min, max, step });
    input.value = value;
    const output = live.element(row, "output", { htmlFor: id });
    live.set(output, { "aria-live": "off" }); // the input itself says its value
    const show = () => {
      output.textContent = format(input.valueAsNumber);
      live.set(input, { "aria-valuetext": output.textContent });
    };
    input.addEventListener("input", () => { show(); changed(); });
    input.move = (next) => { input.value = next; input.dispatchEvent(new Event("input")); };
    show();
    return input;
  };

  // Add a line that is read aloud; the function that is returned writes it at first at once, then
  // whenever the reader rests. Its `silently` writes at once what only the eye is to follow.
  live.status = (box) => {
    const line = live.element(box, "p", { className: "live-status" });
    live.set(line, { role: "status", "aria-live": "polite" });
    let timer;
    const write = (text) => { if (line.textContent !== text) line.textContent = text; };
    const announce = (text) => {
      clearTimeout(timer);
      live.set(line, { "aria-live": "polite" });
      if (line.textContent) timer = setTimeout(write, 400, text);
      else write(text);
    };
    announce.silently = (text) => {
      clearTimeout(timer);
      live.set(line, { "aria-live": "off" });
      write(text);
    };
    return announce;
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".live-figure").forEach((figure) => {
      const box = live.element(figure, "div", { className: "live-box" });
      try {
        starts[figure.dataset.live](box, live.data[figure.dataset.live]);
        figure.classList.add("started");
      } catch (error) {
        box.remove();
        figure.classList.add("failed");
        console.error(`live figure ${figure.dataset.live}:`, error);
      }
    });
  });
  return live;
})();
