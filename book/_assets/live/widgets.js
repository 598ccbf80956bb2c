// What the live figures share: controls, charts, and what they say to those who do not see them.
"use strict";

softmaxNotes.widgets = (() => {
  let names = 0;
  const unique = () => `live-${names += 1}`;

  /** A number for the eye: fixed digits, a real minus sign, words for what is no number. */
  function shown(value, digits = 4) {
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    return value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");
  }

  /** Like 9.3576e−14. */
  const scientific = (value, digits = 1) =>
    Number.isFinite(value) ? value.toExponential(digits).replaceAll("-", "−").replace("+", "") : shown(value);

  /** Whichever of the two is easier to read. */
  const plain = (value) => (value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5) ? shown(value, 2) : scientific(value));

  // --- controls: each is a native one, so that keys, touch and screen readers know it

  function slider(parent, { label, min, max, step, value, text = shown, onInput }) {
    const row = parent.append("label").attr("class", "live-row");
    row.append("span").text(label);
    const input = row.append("input").attr("type", "range");
    const output = row.append("output");
    function bounds(options) {
      for (const [key, bound] of Object.entries(options)) input.attr(key, bound);
      refresh();
    }
    function refresh() {
      const said = text(Number(input.property("value")));
      output.text(said);
      input.attr("aria-valuetext", said);
    }
    bounds({ min, max, step });
    input.property("value", value);
    refresh();
    input.on("input", () => { refresh(); onInput(); });
    return {
      bounds,
      get value() { return Number(input.property("value")); },
      set value(number) { input.property("value", number); refresh(); },
      show(visible) { row.property("hidden", !visible); },
    };
  }

  /** One of several: `options` are pairs of a value and its label. */
  function choice(parent, { legend, options, value, onInput }) {
    const group = unique();
    const set = parent.append("fieldset").attr("class", "live-choice");
    set.append("legend").text(legend);
    const labels = set.selectAll("label").data(options).join("label");
    const inputs = labels.append("input").attr("type", "radio").attr("name", group)
      .property("checked", ([key]) => key === value)
      .on("change", onInput);
    labels.append("span").text(([, label]) => label);
    return {
      get value() { return inputs.filter(function () { return this.checked; }).datum()[0]; },
      set value(key) { inputs.property("checked", ([other]) => other === key); },
    };
  }

  /** Any of several: pairs of a label and whether it is on. */
  function toggles(parent, { legend, options, onInput }) {
    const set = parent.append("fieldset").attr("class", "live-choice");
    set.append("legend").text(legend);
    const labels = set.selectAll("label").data(options).join("label");
    const inputs = labels.append("input").attr("type", "checkbox")
      .property("checked", ([, on]) => on)
      .on("change", onInput);
    labels.append("span").text(([label]) => label);
    return {
      get value() { return inputs.nodes().map((input) => input.checked); },
      show(visible) { set.property("hidden", !visible); },
    };
  }

  // --- drawings: hidden from screen readers, which get the same numbers as words

  const drawing = (parent, width, height) => parent.append("svg")
    .attr("viewBox", `0 0 ${width} ${height}`).attr("aria-hidden", "true");

  /** Horizontal bars from 0 to 1 with their names and values; `marks` are thin lines beside them. */
  function bars(parent, rows, height = 30) {
    const width = 300;
    const svg = drawing(parent, width, rows * height);
    const length = d3.scaleLinear([0, 1], [80, width - 55]);
    return (data) => {
      const groups = svg.selectAll("g").data(data).join((enter) => {
        const made = enter.append("g");
        made.append("text").attr("class", "live-name").attr("x", 72).attr("text-anchor", "end");
        made.append("rect").attr("class", "live-bar").attr("x", 80).attr("y", 4).attr("height", height - 10);
        made.append("path").attr("class", "live-mark");
        made.append("text").attr("class", "live-value");
        made.selectAll("text").attr("y", height / 2 + 4);
        return made;
      }).attr("transform", (_, i) => `translate(0 ${i * height})`);
      groups.select(".live-name").text(({ name }) => name);
      groups.select(".live-bar").attr("width", ({ value }) => length(value) - 80);
      groups.select(".live-mark").attr("d", ({ mark }) => (mark === undefined ? "" : `M${length(mark)} 1v${height - 4}`));
      groups.select(".live-value").attr("x", ({ value, mark = 0 }) => length(Math.max(value, mark)) + 6)
        .text(({ value }) => shown(value));
    };
  }

  /** Axes in a box; `draw(x, y, ticks)` sets the scales anew and gives the group to draw in. */
  function chart(parent, { width = 340, height = 240, xLabel, yLabel }) {
    const svg = drawing(parent, width, height);
    const box = { left: 64, right: width - 8, top: 10, bottom: height - 40 };
    const clip = unique();
    svg.append("clipPath").attr("id", clip).append("rect")
      .attr("x", box.left).attr("y", box.top)
      .attr("width", box.right - box.left).attr("height", box.bottom - box.top);
    const bottom = svg.append("g").attr("class", "live-axis").attr("transform", `translate(0 ${box.bottom})`);
    const left = svg.append("g").attr("class", "live-axis").attr("transform", `translate(${box.left} 0)`);
    svg.append("text").attr("x", (box.left + box.right) / 2).attr("y", height - 6)
      .attr("text-anchor", "middle").text(xLabel);
    svg.append("text").attr("transform", `translate(10 ${(box.top + box.bottom) / 2}) rotate(-90)`)
      .attr("text-anchor", "middle").text(yLabel);
    const plot = svg.append("g").attr("clip-path", `url(#${clip})`);
    return (x, y, axes = {}) => {
      x.range([box.left, box.right]);
      y.range([box.bottom, box.top]);
      const tidy = (axis) => axis.tickSize(4).tickPadding(3);
      bottom.call(tidy(d3.axisBottom(x).ticks(6)));
      left.call(tidy((axes.left ?? ((axis) => axis.ticks(6)))(d3.axisLeft(y))));
      return plot;
    };
  }

  /** Lines of `{ className, points }`, gaps where a value is no number. */
  function lines(plot, x, y, data) {
    const line = d3.line().defined(([, v]) => Number.isFinite(v)).x(([u]) => x(u)).y(([, v]) => y(v));
    plot.selectAll("path.live-line").data(data).join("path")
      .attr("class", ({ className }) => `live-line ${className}`)
      .attr("d", ({ points }) => line(points));
  }

  /** Dots of `{ className, point }`; none where a value is no number. */
  function dots(plot, x, y, data) {
    plot.selectAll("circle").data(data.filter(({ point }) => point.every(Number.isFinite))).join("circle")
      .attr("class", ({ className }) => className).attr("r", 5)
      .attr("cx", ({ point }) => x(point[0])).attr("cy", ({ point }) => y(point[1]));
  }

  /** A key: for each `{ className, name, value }` a stroke of its line, its name and its value. */
  function key(parent) {
    const list = parent.append("ul").attr("class", "live-key");
    return (data) => {
      const items = list.selectAll("li").data(data).join((enter) => {
        const made = enter.append("li");
        made.append("svg").attr("viewBox", "0 0 24 8").attr("aria-hidden", "true").append("path").attr("d", "M0 4h24");
        made.append("span").attr("class", "live-key-name");
        made.append("span").attr("class", "live-key-value");
        return made;
      });
      items.select("path").attr("class", ({ className }) => `live-line ${className}`);
      items.select(".live-key-name").text(({ name }) => name);
      items.select(".live-key-value").text(({ value }) => value);
    };
  }

  /** A table for screen readers, with the numbers that the drawing shows. */
  function table(parent, caption, head) {
    const made = parent.append("div").attr("class", "live-unseen").append("table");
    made.append("caption").text(caption);
    made.append("thead").append("tr").selectAll("th").data(head).join("th").attr("scope", "col").text((d) => d);
    const body = made.append("tbody");
    return (rows) => {
      body.selectAll("tr").data(rows).join("tr").each(function (row) {
        d3.select(this).selectAll("td").data(row).join("td").text((d) => d);
      });
    };
  }

  // --- a figure

  /**
   * Build the figure into every `<div class="live" data-figure="name">` of the page.
   * `build(body)` adds controls and drawings, and returns `draw()`, which gives the numbers and
   * a sentence. The numbers go into `data-values`, for the tests; the sentence is for screen
   * readers, and spoken once the reader's hand rests.
   */
  function figure(name, title, build) {
    d3.selectAll(`.live[data-figure="${name}"]`).each(function () {
      const root = d3.select(this);
      const heading = unique();
      root.attr("role", "group").attr("aria-labelledby", heading);
      const body = root.append("div").attr("class", "live-body");
      body.append("p").attr("class", "live-title").attr("id", heading).text(title);
      let draw = null, timer = 0;
      const update = () => {
        const { values, sentence } = draw();
        const named = (_, value) => (typeof value === "number" && !Number.isFinite(value) ? String(value) : value);
        root.attr("data-values", JSON.stringify(values, named)); // JSON has no NaN and no infinity
        clearTimeout(timer);
        timer = setTimeout(() => spoken.text(sentence), 500);
      };
      draw = build(body, update);
      const spoken = body.append("p").attr("class", "live-unseen").attr("aria-live", "polite");
      update();
    });
  }

  return { bars, chart, choice, dots, drawing, figure, key, lines, plain, scientific, shown, slider, table, toggles };
})();
