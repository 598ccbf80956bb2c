// Maximum, smooth maximum and Boltzmann mean of three scores, against the scale α.
"use strict";

softmaxNotes.widgets.figure("maxima", "Try it: move the scores and the scale.", (body, update) => {
  const { boltzmannMean, smoothMax, sum } = softmaxNotes.math;
  const { chart, dots, key, lines, shown, slider, table } = softmaxNotes.widgets;
  const ALPHAS = d3.range(-60, 61).map((k) => k / 10);

  const panes = body.append("div").attr("class", "live-panes");
  const controls = panes.append("div");
  const scores = [1, 2, 3].map((i) => slider(controls, {
    label: `score ${i}`, min: -3, max: 3, step: 0.1, value: 3 - i, text: (x) => shown(x, 1), onInput: update,
  }));
  const scale = slider(controls, {
    label: "scale α", min: -6, max: 6, step: 0.1, value: 1, text: (a) => shown(a, 1), onInput: update,
  });
  const drawKey = key(controls);
  const frame = chart(panes.append("div"), { width: 340, height: 250, xLabel: "scale α", yLabel: "value" });
  const fill = table(body, "At this scale", ["function", "value"]);

  return () => {
    const x = scores.map(({ value }) => value);
    const alpha = scale.value;
    const constant = (value) => () => value;
    const functions = [
      ["maximum", "live-4", constant(Math.max(...x))],
      ["mean", "live-thin", constant(sum(x) / x.length)],
      ["minimum", "live-5", constant(Math.min(...x))],
      ["logsumexp / α", "live-3", (a) => (a === 0 ? NaN : smoothMax(x, a))],
      ["Boltzmann mean", "live-1", (a) => boltzmannMean(x, a)],
    ].map(([name, className, f]) => ({ name, className, f, value: f(alpha) }));
    const [u, v] = [d3.scaleLinear([-6, 6], [0, 1]), d3.scaleLinear([-5, 5], [0, 1])];
    const plot = frame(u, v);
    lines(plot, u, v, [
      ...functions.map(({ className, f }) => ({ className, points: ALPHAS.map((a) => [a, f(a)]) })),
      { className: "live-thin", points: [[alpha, -5], [alpha, 5]] },
    ]);
    dots(plot, u, v, functions.slice(3).map(({ value }) => ({ className: "live-dot", point: [alpha, value] })));
    const texts = functions.map(({ name, className, value }) =>
      ({ name, className, value: Number.isNaN(value) ? "no value at 0" : shown(value) }));
    drawKey(texts);
    fill(texts.map(({ name, value }) => [name, value]));
    const told = texts.map(({ name, value }) => `${name} ${value}`).join(", ");
    return { values: { x, alpha, functions: functions.map(({ value }) => value) }, sentence: `At α = ${shown(alpha, 1)}: ${told}.` };
  };
});
