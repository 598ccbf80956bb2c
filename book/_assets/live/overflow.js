// Softmax in four formats: slide a shift under three scores, and watch the digits.
"use strict";

softmaxNotes.widgets.figure("overflow", "Try it: choose a format and add the same number to all scores.", (body, update) => {
  const { rounded, softmax, softmaxIn, thresholds } = softmaxNotes.math;
  const { choice, drawing, plain, shown, slider, table } = softmaxNotes.widgets;
  const SCORES = [2, 1, 0];
  const NAMES = ["chicken", "duck", "goose"];
  const EXACT = softmax(SCORES);
  // How far the shift goes, and how many decimals are shown: one or two more than there are digits.
  const FORMATS = {
    float16: { reach: 30, decimals: 5 },
    bfloat16: { reach: 400, decimals: 4 }, // far enough to round the scores themselves
    float32: { reach: 120, decimals: 9 },
    float64: { reach: 800, decimals: 15 },
  };
  const PARTS = ["zero", "subnormal", "normal", "infinite"];

  const panes = body.append("div").attr("class", "live-panes");
  const controls = panes.append("div");
  const format = choice(controls, {
    legend: "format", options: Object.keys(FORMATS).map((name) => [name, name]), value: "float32",
    onInput: () => { resize(); update(); },
  });
  const shift = slider(controls, {
    label: "shift c", min: -120, max: 120, step: 1, value: 0, text: (c) => shown(c, 0), onInput: update,
  });
  const strip = drawing(panes.append("div"), 340, 72);
  const bands = strip.append("g");
  const axis = strip.append("g").attr("class", "live-axis").attr("transform", "translate(0 38)");
  strip.append("text").attr("x", 170).attr("y", 70).attr("text-anchor", "middle").text("x + c");
  const marks = strip.append("g");

  const blocks = body.append("div").attr("class", "live-panes live-blocks");
  const block = (title) => {
    const made = blocks.append("div");
    made.append("p").attr("class", "live-label").text(title);
    const rows = made.selectAll("div").data(NAMES).join("div").attr("class", "live-digits").attr("aria-hidden", "true");
    rows.append("span").text((name) => name);
    rows.append("span").attr("class", "live-right");
    rows.append("span").attr("class", "live-wrong");
    return rows;
  };
  const shownBlocks = { naive: block("as written"), stable: block("shifted by the maximum"), exact: block("exact") };
  const fill = table(body, "Probabilities, and how many of their leading decimals are right",
    ["bird", "as written", "right decimals", "shifted by the maximum", "right decimals", "exact"]);

  const note = body.append("p").attr("class", "live-note").attr("aria-hidden", "true");

  function resize() {
    const { reach } = FORMATS[format.value];
    const kept = Math.max(-reach, Math.min(reach, shift.value));
    shift.bounds({ min: -reach, max: reach });
    shift.value = kept;
  }

  /** The text of a number, cut where it leaves the truth. */
  function cut(value, exact, decimals) {
    const text = shown(value, decimals), truth = shown(exact, decimals);
    let right = 0;
    while (right < text.length && text[right] === truth[right]) right += 1;
    return [text.slice(0, right), text.slice(right)];
  }

  const decimalsIn = (text) => Math.max(0, text.length - 2);

  function drawStrip(x) {
    const { reach } = FORMATS[format.value];
    const ends = thresholds(format.value);
    const scale = d3.scaleLinear([-reach, reach], [16, 324]).clamp(true);
    const stops = [-reach, ends.zero, ends.subnormal, ends.overflow, reach].map(scale);
    bands.selectAll("rect").data(PARTS).join("rect").attr("class", (part) => `live-band-${part}`)
      .attr("y", 14).attr("height", 22).attr("x", (_, i) => stops[i]).attr("width", (_, i) => stops[i + 1] - stops[i]);
    bands.selectAll("text").data(["0", "", "normal", "∞"]).join("text").attr("y", 30).attr("text-anchor", "middle")
      .attr("x", (_, i) => (stops[i] + stops[i + 1]) / 2)
      .text((text, i) => (stops[i + 1] - stops[i] > 12 ? text : ""));
    axis.call(d3.axisBottom(scale).ticks(7).tickSize(4));
    marks.selectAll("path").data(x).join("path").attr("class", "live-pin")
      .attr("d", (score) => `M${scale(score)} 16l-5 -14h10z`);
  }

  return () => {
    const { decimals } = FORMATS[format.value];
    const c = shift.value;
    const x = SCORES.map((score) => rounded(score + c, format.value));
    const naive = softmaxIn(format.value, x);
    const stable = softmaxIn(format.value, x, Math.max(...x));
    drawStrip(x);
    const cuts = {};
    for (const [name, p] of [["naive", naive.p], ["stable", stable.p], ["exact", EXACT]]) {
      cuts[name] = p.map((value, i) => cut(value, EXACT[i], decimals));
      shownBlocks[name].select(".live-right").text((_, i) => cuts[name][i][0]);
      shownBlocks[name].select(".live-wrong").text((_, i) => cuts[name][i][1]);
    }
    fill(NAMES.map((bird, i) => [
      bird,
      cuts.naive[i].join(""), decimalsIn(cuts.naive[i][0]),
      cuts.stable[i].join(""), decimalsIn(cuts.stable[i][0]),
      cuts.exact[i].join(""),
    ]));
    const said = (name, p) => (p.some(Number.isNaN) ? "NaN"
      : `${Math.min(...cuts[name].map(([right]) => decimalsIn(right)))} right decimals or more`);
    const lost = x.some((score, i) => score !== SCORES[i] + c) ? " The format has rounded the scores themselves." : "";
    const sentence = `${format.value}, scores ${x.map((score) => shown(score, 0)).join(", ")}: the exponentials sum to ${plain(naive.total)}. `
        + `As written: ${said("naive", naive.p)}. Shifted: ${said("stable", stable.p)}.${lost}`;
    note.text(sentence);
    return { values: { format: format.value, x, naive, stable, exact: EXACT }, sentence };
  };
});
