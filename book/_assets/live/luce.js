// Luce's axiom: add and remove alternatives, and watch a ratio. Buses of several colors break it.
"use strict";

softmaxNotes.widgets.figure("luce", "Try it: change what is on offer.", (body, update) => {
  const { matchingLaw, nestedLogit } = softmaxNotes.math;
  const { bars, choice, shown, slider, table, toggles } = softmaxNotes.widgets;
  const LISTS = {
    animals: {
      names: ["dog", "cat", "chicken", "pig", "cow"],
      utilities: [8, 6, 4, 5, 9],
      on: [true, true, false, false, false],
    },
    buses: {
      names: ["car", "red bus", "blue bus", "green bus"],
      utilities: [1, 1, 1, 1],
      on: [true, true, true, false],
      nests: [[0], [1, 2, 3]],
    },
  };

  const panes = body.append("div").attr("class", "live-panes");
  const controls = panes.append("div");
  const list = choice(controls, {
    legend: "the list", value: "animals", options: [["animals", "dog or cat"], ["buses", "car or bus"]],
    onInput: () => { show(); update(); },
  });
  const offers = Object.entries(LISTS).map(([key, { names, utilities, on }]) => [key, toggles(controls, {
    legend: key === "animals" ? "on offer, with utility" : "on offer, each of utility 1",
    options: names.map((name, i) => [key === "animals" ? `${name} ${utilities[i]}` : name, on[i]]),
    onInput: update,
  })]);
  const different = slider(controls, {
    label: "λ of buses", min: 0, max: 1, step: 0.01, value: 0.1, text: (value) => shown(value, 2), onInput: update,
  });
  const right = panes.append("div");
  const ratioLine = right.append("p").attr("class", "live-large");
  const note = right.append("p").attr("class", "live-note");
  const drawBars = bars(right, 5);
  const fill = table(right, "Shares", ["alternative", "share", "share by the matching law"]);

  function show() {
    offers.forEach(([key, offer]) => offer.show(key === list.value));
    different.show(list.value === "buses");
  }
  show();

  return () => {
    const { names, utilities, nests } = LISTS[list.value];
    const offered = new Map(offers).get(list.value).value;
    const law = matchingLaw(utilities, offered);
    const p = nests
      ? nestedLogit(utilities.map(Math.log), nests, [1, different.value], offered)
      : law;
    const shares = names.map((name, i) => ({ name, value: p[i], mark: nests && offered[i] ? law[i] : undefined }));
    drawBars(shares.filter((_, i) => offered[i]));
    fill(names.map((name, i) => [name, shown(p[i]), shown(law[i])]));
    const [first, second] = names;
    const ratio = offered[0] && offered[1] ? p[0] / p[1] : NaN;
    const alone = utilities[0] / utilities[1];
    ratioLine.text(`${first} : ${second} = ${Number.isNaN(ratio) ? "?" : shown(ratio)}`);
    note.text(nests
      ? `These two alone: ${shown(alone)}. Thin lines: shares by the matching law, which keeps it.`
      : `These two alone: ${shown(alone)}. Whatever else is on offer, it stays.`);
    const said = names.filter((_, i) => offered[i]).map((name) => `${name} ${shown(100 * p[names.indexOf(name)], 1)} %`);
    return {
      values: { list: list.value, offered, law, p, ratio },
      sentence: said.length ? `${said.join(", ")}.` : "Nothing is on offer.",
    };
  };
});
