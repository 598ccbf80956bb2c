// Three scores and a temperature: bars, and a point on the simplex.
"use strict";

softmaxNotes.widgets.figure("temperature", "Try it: three scores and a temperature.", (body, update) => {
  const { softmax, sum } = softmaxNotes.math;
  const { bars, drawing, shown, slider, table } = softmaxNotes.widgets;
  const BIRDS = ["chicken", "duck", "goose"];
  const CORNERS = [[20, 240], [280, 240], [150, 240 - 260 * Math.sqrt(0.75)]];

  const panes = body.append("div").attr("class", "live-panes");
  const controls = panes.append("div");
  const scores = BIRDS.map((bird, i) => slider(controls, {
    label: bird, min: -5, max: 5, step: 0.1, value: 2 - i, text: (x) => shown(x, 1), onInput: update,
  }));
  // The slider moves log10 T, so that T = 1 is in the middle.
  const heat = slider(controls, {
    label: "temperature", min: -1, max: 1, step: 0.01, value: 0, text: (t) => shown(10 ** t, 2), onInput: update,
  });
  const drawBars = bars(controls, BIRDS.length);
  const fill = table(controls, "Softmax of the scores", ["bird", "score", "probability"]);

  const triangle = drawing(panes, 300, 262).attr("class", "live-triangle");
  triangle.append("polygon").attr("class", "live-edge").attr("points", CORNERS.join(" "));
  triangle.selectAll("text").data(BIRDS).join("text").attr("text-anchor", "middle")
    .attr("x", (_, i) => CORNERS[i][0] + [8, -8, 0][i]).attr("y", (_, i) => CORNERS[i][1] + (i === 2 ? -4 : 18))
    .text((bird) => bird);
  const path = triangle.append("path").attr("class", "live-line live-1");
  const point = triangle.append("circle").attr("class", "live-dot").attr("r", 7);

  /** The point of the triangle whose barycentric coordinates are p. */
  const place = (p) => [0, 1].map((k) => sum(p.map((share, i) => share * CORNERS[i][k])));

  return () => {
    const x = scores.map(({ value }) => value);
    const temperature = 10 ** heat.value;
    const p = softmax(x, temperature);
    drawBars(BIRDS.map((name, i) => ({ name, value: p[i] })));
    fill(BIRDS.map((bird, i) => [bird, shown(x[i], 1), shown(p[i])]));
    // From T = 100, near the center, to T = 0.01.
    path.attr("d", d3.line()(d3.range(61).map((k) => place(softmax(x, 10 ** (2 - k / 15))))));
    const [cx, cy] = place(p);
    point.attr("cx", cx).attr("cy", cy);
    const shares = BIRDS.map((bird, i) => `${bird} ${shown(100 * p[i], 1)} %`);
    return { values: { x, temperature, p }, sentence: `At temperature ${shown(temperature, 2)}: ${shares.join(", ")}.` };
  };
});
