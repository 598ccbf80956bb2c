// The Jacobian as a heat map, the chain rule, and p − y: choose which bird it was.
"use strict";

softmaxNotes.widgets.figure("gradient", "Try it: move the scores, and choose which bird it was.", (body, update) => {
  const { gradient, jacobian, softmax } = softmaxNotes.math;
  const { bars, choice, shown, slider } = softmaxNotes.widgets;
  const BIRDS = ["chicken", "duck", "goose"];

  const panes = body.append("div").attr("class", "live-panes");
  const controls = panes.append("div");
  const scores = BIRDS.map((bird, i) => slider(controls, {
    label: bird, min: -5, max: 5, step: 0.1, value: 2 - i, text: (x) => shown(x, 1), onInput: update,
  }));
  const drawBars = bars(controls, BIRDS.length);

  const right = panes.append("div");
  const target = choice(right, {
    legend: "it was a", options: BIRDS.map((bird, i) => [i, bird]), value: 0, onInput: update,
  });
  const made = right.append("table").attr("class", "live-heat");
  made.append("caption").text("J, times −y/p, is p − y");
  const head = made.append("thead").append("tr");
  head.append("td");
  head.selectAll("th").data([...BIRDS, "−y/p", "p − y"]).join("th").attr("scope", "col").text((name) => name);
  const rows = made.append("tbody").selectAll("tr").data(BIRDS).join("tr");
  rows.append("th").attr("scope", "row").text((name) => name);
  // A click into a row or a column of the matrix chooses its bird; keys use the buttons above.
  const cells = rows.selectAll("td").data((_, i) => BIRDS.map((_, j) => [i, j]).concat([[i, 3], [i, 4]])).join("td");
  head.selectAll("th").filter((_, j) => j < 3).on("click", (_, bird) => pick(BIRDS.indexOf(bird)));
  cells.on("click", (_, [i, j]) => pick(j < 3 ? j : i));

  function pick(t) {
    target.value = t;
    update();
  }

  return () => {
    const x = scores.map(({ value }) => value);
    const t = target.value;
    const p = softmax(x);
    const J = jacobian(p);
    const chain = p.map((pk, k) => (k === t ? -1 / pk : 0));
    const g = gradient(p, t);
    const entry = ([i, j]) => [...J[i], chain[i], g[i]][j];
    drawBars(BIRDS.map((name, i) => ({ name, value: p[i] })));
    head.selectAll("th").classed("live-target", (_, j) => j === t);
    rows.classed("live-target", (_, i) => i === t);
    cells.each(function (place) {
      const value = entry(place);
      const limit = [0.25, 0.25, 0.25, Infinity, 1][place[1]];
      this.style.setProperty("--live-strength", `${45 * Math.min(1, Math.abs(value) / limit)}%`);
      d3.select(this).classed("live-minus", value < 0)
        .text(shown(value, Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2));
    });
    const steps = BIRDS.map((bird, i) => `${bird} ${shown(g[i], 3)}`).join(", ");
    return { values: { x, target: t, p, J, chain, g }, sentence: `It was a ${BIRDS[t]}. p − y: ${steps}.` };
  };
});
