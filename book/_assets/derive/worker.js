// Python beside the page, so that the page stays quick: a request is a number of scores, the
// answer what program.py prints for it. Everything comes from this site.
const SITE = new URL("../../pyodide/", import.meta.url);
const LIBRARY = "/library"; // where Python finds SymPy and the proofs

const tell = (kind, content) => postMessage({ kind, content });

async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new TypeError(`${answer.status} ${address}`);
  return answer;
}

async function start() {
  tell("progress", "Fetching Python …");
  const { loadPyodide } = await import(new URL("pyodide.mjs", SITE));
  const python = await loadPyodide({ indexURL: SITE.href, stdout() {}, stderr() {} });
  tell("progress", "Fetching SymPy …");
  const library = await (await fetched(new URL("library.zip", SITE))).arrayBuffer();
  python.unpackArchive(library, "zip", { extractDir: LIBRARY });
  const program = await (await fetched(new URL("program.py", import.meta.url))).text();
  tell("progress", "Starting SymPy …");
  python.runPython(`import sys; sys.path.insert(0, "${LIBRARY}")`);
  python.runPython(program);
  return python.globals.get("derive");
}

let derive;
onmessage = async ({ data: n }) => {
  try {
    derive ??= await start();
    tell("progress", `Differentiating softmax of ${n} scores …`);
    tell("result", JSON.parse(derive(n)));
  } catch (error) {
    derive = undefined;
    tell(error instanceof TypeError ? "lost" : "error", String(error.message ?? error));
  }
};
