// Terms of Taylor, Padé and CORDIC against the error of e^x, with and without range reduction.
"use strict";

softmaxNotes.widgets.figure("terms", "Try it: choose x and the number of terms.", (body, update) => {
  const { cordic, cordicShifts, pade, reduced, taylor } = softmaxNotes.math;
  const { chart, dots, key, lines, scientific, shown, slider, table, toggles } = softmaxNotes.widgets;
  const MOST = 40, FLOOR = 1e-17;
  // A fraction with d + 1 free coefficients; of CORDIC, as many steps as fit.
  const METHODS = [
    { name: "Taylor", className: "live-2", at: (x, d) => taylor(x, d) },
    { name: "Padé", className: "live-4", at: (x, d) => pade(x, Math.ceil(d / 2), Math.floor(d / 2)) },
    { name: "CORDIC", className: "live-3", at: (x, d) => cordic(x, lastShift(d)) },
  ];

  /** The largest shift that `steps` steps reach. */
  function lastShift(steps) {
    let last = 1;
    while (cordicShifts(last + 1).length <= steps) last += 1;
    return last;
  }

  const panes = body.append("div").attr("class", "live-panes");
  const controls = panes.append("div");
  const at = slider(controls, {
    label: "x", min: -30, max: 30, step: 0.1, value: -20, text: (x) => shown(x, 1), onInput: update,
  });
  const terms = slider(controls, {
    label: "terms", min: 1, max: MOST, step: 1, value: 12, text: (d) => shown(d, 0), onInput: update,
  });
  const reduction = toggles(controls, {
    legend: "first", options: [["reduce the range", false]], onInput: update,
  });
  const drawKey = key(controls);
  const frame = chart(panes.append("div"), { width: 340, height: 260, xLabel: "terms, or steps of CORDIC", yLabel: "relative error" });
  const fill = table(body, "With this number of terms", ["method", "value", "relative error"]);

  /** Like 1e−15; only powers of ten are labeled. */
  const power = (value) => (Number.isInteger(Math.log10(value)) ? scientific(value, 0) : "");

  return () => {
    const x = at.value, d = terms.value;
    const [short] = reduction.value;
    const exact = Math.exp(x);
    const value = (method, count) => (short ? reduced(x, (r) => method.at(r, count)) : method.at(x, count));
    const error = (approximation) => Math.abs(approximation / exact - 1);
    const curves = METHODS.map((method) => {
      const points = d3.range(1, MOST + 1).map((count) => [count, Math.max(FLOOR, error(value(method, count)))]);
      return { ...method, points, value: value(method, d), error: error(value(method, d)) };
    });
    const highest = d3.max(curves.flatMap(({ points }) => points.map(([, e]) => e)).filter(Number.isFinite));
    const u = d3.scaleLinear([0, MOST], [0, 1]);
    const v = d3.scaleLog([FLOOR, Math.max(10, highest)], [0, 1]);
    const plot = frame(u, v, { left: (axis) => axis.ticks(6).tickFormat(power) });
    lines(plot, u, v, curves);
    dots(plot, u, v, curves.map(({ className, points }) => ({ className: `live-dot ${className}`, point: points[d - 1] })));
    const texts = curves.map(({ name, className, value: result, error: e }) => ({
      name, className, value: Number.isNaN(result) ? "x is out of reach" : `${scientific(result, 5)}, error ${scientific(e)}`,
    }));
    drawKey([{ name: "eˣ", className: "live-none", value: scientific(exact, 5) }, ...texts]);
    fill(curves.map(({ name, value: result, error: e }) => [name, scientific(result, 15), scientific(e)]));
    return {
      values: { x, terms: d, reduced: short, exact, results: curves.map(({ value: result }) => result) },
      sentence: `e to the power ${shown(x, 1)} is ${scientific(exact, 5)}. ${texts.map(({ name, value: text }) => `${name}: ${text}`).join("; ")}.`,
    };
  };
});
