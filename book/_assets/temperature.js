// A live figure: three scores and a temperature; bars, and a point on the simplex.
// The page holds <div class="live" data-figure="temperature"></div> below a static picture.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const BIRDS = ["chicken", "duck", "goose"];
  const WIDTH = 300;
  const CORNERS = [[20, 250], [280, 250], [150, 250 - 260 * Math.sqrt(0.75)]];

  /** Probabilities of scores x at temperature T, shifted by the maximum. */
  function softmax(x, temperature = 1) {
    const largest = Math.max(...x);
    const weights = x.map((score) => Math.exp((score - largest) / temperature));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => weight / total);
  }

  /** The point of the triangle whose barycentric coordinates are p. */
  const place = (p) => [0, 1].map((k) => p.reduce((sum, share, i) => sum + share * CORNERS[i][k], 0));

  function element(name, attributes, parent, text = "") {
    const svg = ["svg", "circle", "path", "rect", "text", "polygon"].includes(name);
    const made = svg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  function slider(parent, label, attributes, onInput) {
    const row = element("label", { class: "live-row" }, parent);
    element("span", {}, row, label);
    const input = element("input", { type: "range", ...attributes }, row);
    input.addEventListener("input", onInput);
    return { input, output: element("output", {}, row) };
  }

  function build(root) {
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", "Try it: three scores, a temperature and their softmax");
    element("p", { class: "live-title" }, root, "Try it: move the scores and the temperature.");
    const panes = element("div", { class: "live-panes" }, root);
    const controls = element("div", {}, panes);
    const scores = BIRDS.map((bird, i) =>
      slider(controls, bird, { min: -5, max: 5, step: 0.1, value: 2 - i }, draw));
    // The slider moves log10 T, so that T = 1 is in the middle.
    const heat = slider(controls, "temperature", { min: -1, max: 1, step: 0.01, value: 0 }, draw);

    const bars = element("svg", { viewBox: `0 0 ${WIDTH} 96`, "aria-hidden": "true" }, controls);
    const rows = BIRDS.map((bird, i) => ({
      name: element("text", { x: 62, y: 20 + 30 * i, "text-anchor": "end" }, bars, bird),
      bar: element("rect", { class: "live-bar", x: 70, y: 6 + 30 * i, height: 18 }, bars),
      value: element("text", { y: 20 + 30 * i }, bars),
    }));

    const triangle = element("svg", { viewBox: `-20 0 340 285`, "aria-hidden": "true" }, panes);
    element("polygon", { class: "live-edge", points: CORNERS.join(" ") }, triangle);
    CORNERS.forEach(([x, y], i) =>
      element("text", { x, y: y + (i === 2 ? -8 : 20), "text-anchor": "middle" }, triangle, BIRDS[i]));
    const path = element("path", { class: "live-path" }, triangle);
    const point = element("circle", { class: "live-point", r: 6 }, triangle);
    const said = element("p", { class: "live-said", "aria-live": "polite" }, root);

    function draw() {
      const x = scores.map(({ input }) => Number(input.value));
      const temperature = 10 ** Number(heat.input.value);
      const p = softmax(x, temperature);
      scores.forEach(({ output }, i) => { output.textContent = x[i].toFixed(1); });
      heat.output.textContent = temperature.toFixed(2);
      heat.input.setAttribute("aria-valuetext", temperature.toFixed(2));
      rows.forEach(({ bar, value }, i) => {
        bar.setAttribute("width", p[i] * 160);
        value.setAttribute("x", 76 + p[i] * 160);
        value.textContent = p[i].toFixed(4);
      });
      const steps = Array.from({ length: 61 }, (_, k) => place(softmax(x, 10 ** (2 - k / 15))));
      path.setAttribute("d", `M${steps.map((step) => step.join(",")).join("L")}`);
      const [cx, cy] = place(p);
      point.setAttribute("cx", cx);
      point.setAttribute("cy", cy);
      said.textContent = BIRDS.map((bird, i) => `${bird} ${(100 * p[i]).toFixed(1)} %`).join(", ");
      // For the tests, which compare these numbers with the package's.
      root.dataset.probabilities = JSON.stringify(p);
    }
    draw();
  }

  document.querySelectorAll('.live[data-figure="temperature"]').forEach(build);
})();
