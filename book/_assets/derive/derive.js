// The page "Derive it yourself": fetches Python when it is asked to, and not before.
// A plain script, no module: those would not run, and say nothing, in a page opened as a file.
"use strict";
(() => {
  const box = document.querySelector(".derive");
  const [choice, button, status, result] = ["select", "button", ".status", ".result"].map((name) =>
    box.querySelector(name),
  );
  const SORRY = {
    lost: "Some of the files could not be fetched. Are you online? Press the button to try again.",
    error: "Python stopped with an error, which is our fault and not yours: ",
    old: "This browser cannot run WebAssembly modules, which Python needs. A newer one can.",
    file: "Python does not start in a page that was opened as a file: serve the site (make serve).",
  };
  let worker;

  function stop(words) {
    worker?.terminate();
    worker = undefined;
    wait(false);
    status.textContent = words;
  }

  function wait(busy) {
    box.toggleAttribute("data-busy", busy);
    choice.disabled = busy;
    button.textContent = busy ? "Stop" : worker ? "Derive" : button.dataset.first;
  }

  const math = (inner, display = "inline") => `<math display="${display}">${inner}</math>`;
  const weight = (k) => `<msub><mi>w</mi><mn>${k}</mn></msub>`;

  function show({ n, matrix, checks }) {
    const all = Array.from({ length: n }, (_, k) => weight(k + 1)).join("<mo>+</mo>");
    const square = "<msup><mi>S</mi><mn>2</mn></msup>";
    const formula = `<mi>J</mi><mo>=</mo><mfrac><mn>1</mn>${square}</mfrac>${matrix}`;
    result.innerHTML = `
      <p>With the weights ${math("<msub><mi>w</mi><mi>k</mi></msub><mo>=</mo><msup><mi>e</mi>" +
        "<msub><mi>x</mi><mi>k</mi></msub></msup>")} and their sum ${math(`<mi>S</mi><mo>=</mo>${all}`)}:</p>
      <div class="matrix" tabindex="0" role="group" aria-label="the Jacobian">
        ${math(formula, "block")}</div>
      <p>SymPy brought these to lowest terms:</p><ul></ul>`;
    for (const { claim, zeros, of } of checks) {
      const line = document.createElement("li");
      const verdict = zeros === of ? (of > 1 ? `all ${of} are 0` : "is 0") : `only ${zeros} of ${of} are 0`;
      line.textContent = `${claim}: ${verdict}`;
      result.querySelector("ul").append(line);
    }
    result.dataset.n = n;
  }

  function answer({ data: { kind, content } }, asked) {
    if (kind === "progress") status.textContent = content;
    else if (kind === "result") {
      show(content);
      wait(false);
      status.textContent = `Derived for n = ${content.n} in ${((performance.now() - asked) / 1000).toFixed(1)} seconds.`;
    } else stop(SORRY[kind] + (kind === "error" ? content.trim().split("\n").pop() : ""));
  }

  button.addEventListener("click", () => {
    if (box.hasAttribute("data-busy")) return stop("Stopped.");
    if (location.protocol === "file:") return stop(SORRY.file);
    if (typeof WebAssembly !== "object") return stop(SORRY.old);
    const asked = performance.now();
    worker ??= new Worker(box.dataset.worker, { type: "module" });
    worker.onmessage = (message) => answer(message, asked);
    worker.onerror = () => stop(SORRY.lost);
    wait(true);
    worker.postMessage(Number(choice.value));
  });
})();
