"""Try mutants of some modules, or of all: ``python -m tests.mutants [module ...]``.

mutmut makes the mutants and `loop` tries them. results.json keeps what became of them,
equivalent.toml the reasons why some cannot be killed; README.md and a sentence of
CONTRIBUTING.md are written from both.
"""

import argparse
import difflib
import hashlib
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

from tests.mutants.loop import JOB

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests" / "mutants"
TREE = ROOT / "_build" / "mutants"
RESULTS = HERE / "results.json"

SEED = 1  # of the order in which a module's mutants are tried, so that the first are a sample
COUNTED = ("killed", "timeout", "crash", "import")

ABOUT = """\
Written by `make mutants`, which changes the package in one place at a time and runs the tests of \
that module until one fails; it goes on where it stopped, and tries again what lived. \
`python -m tests.mutants jacobian --sample 500` tries more mutants of one module.

The mutants are mutmut's: in functions and methods without decorators, not in what runs at \
import; the wording of error messages is left alone, whether they are raised is not. \
What Numba compiles (`_fast/kernels`, `_fast/vectors`) is machine code when it runs and is not \
mutated; the Python around it is. Tests run with ten examples a law, on NumPy, PyTorch \
and array-api-strict; tests of JAX, tests that take over 2 seconds, what runs in processes of its \
own, and doctests are left out, so that some mutants that live here die in `make test`. The commit \
is that of the module when it was tried; of modules that are not listed, nothing was tried yet. \
The last column is how many lived of the first sample, before tests were added for them.
"""

# The test files of modules that have none of their own, or help others.
TESTS = {
    "_arrays": ["arrays", "definition", "cross_entropy", "smooth_max"],
    "_cli": ["check"],
    "_fast": ["fast"],
    "_losses": ["cross_entropy", "linear_cross_entropy"],
    "check": ["check", "suspects", "judge"],
    "huffman": ["vocabulary"],
    "out_of_core": ["streaming"],
    "parallel": ["parallel", "streaming"],
    "sampled_softmax": ["vocabulary"],
}
COMPILED = {"_fast/kernels", "_fast/vectors"}


def modules():
    """List the modules; what Numba compiles is not Python when it runs."""
    package = ROOT / "softmax_notes"
    stems = (path.relative_to(package).with_suffix("") for path in package.rglob("*.py"))
    named = {s.as_posix().removesuffix("/__init__") for s in stems} - {"__init__", "_fast"}
    return sorted(named - COMPILED)


def path_of(module):
    """Name the file of a module; a package is its __init__."""
    path = Path("softmax_notes") / f"{module}.py"
    return path if (ROOT / path).exists() else path.with_suffix("") / "__init__.py"


def tests_of(module):
    """Name the test files that judge a module."""
    home = module.partition("/")[0]
    if home == "symbolic":  # one run for all: the plugin takes the tests of proofs alone
        using = (p for p in sorted(HERE.parent.glob("test_*.py")) if "as proofs" in p.read_text())
        return tuple(f"tests/{path.name}" for path in using)
    return tuple(f"tests/test_{stem}.py" for stem in TESTS.get(home, [home.lstrip("_")]))


def mutated(path):
    """Let mutmut mutate a file; the wording of error messages is left alone."""
    import libcst as cst
    from mutmut.mutation import file_mutation

    module, mutations, *ignored = file_mutation.create_mutations(
        str(path), (ROOT / path).read_text()
    )
    wording = set()

    class Raises(cst.CSTVisitor):
        def visit_Raise(self, node):  # noqa: N802
            nodes = file_mutation._walk(node)
            wording.update(n for n in nodes if isinstance(n, cst.SimpleString))

    module.visit(Raises())
    kept = [m for m in mutations if m.original_node not in wording]
    file = file_mutation.combine_mutations_to_source(module, kept, *ignored)
    lines = file.code.splitlines()
    bodies = {
        name: lines[span.start - 1 : span.end]
        for name, span in file.line_span_by_function_name.items()
    }
    mutants = {}
    for name in file.mutant_names:
        function = name.partition("__mutmut_")[0]
        mutants[name] = (function, *change(bodies[f"{function}__mutmut_orig"], bodies[name]))
    return file.code, mutants


def change(original, mutant):
    """Give the lines that a mutant takes away, and those it puts in their place."""

    def code(lines):
        # The name differs always.
        return re.sub(r"\bx\w+__mutmut_(orig|\d+)\(", "(", "\n".join(lines)).strip().split("\n")

    lines = difflib.unified_diff(code(original), code(mutant), n=0, lineterm="")
    changed = [line for line in lines if line[:3] not in ("---", "+++")]
    return tuple("\n".join(line[1:].strip() for line in changed if line[0] == s) for s in "-+")


def attempt(tests, jobs):
    """Try mutants of the modules that the same tests judge; give what became of each.

    A job of a module is its code with all mutants, and the function of each that is to be tried.
    """
    tree = TREE / next(iter(jobs)).replace("/", "-")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in ("softmax_notes", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("node_modules"))
    for name in ("book", "pyproject.toml", "_toc.yml", "_config.yml"):
        (tree / name).symlink_to(ROOT / name)
    todo = {}
    for module, (code, functions) in jobs.items():
        (tree / path_of(module)).write_text(code)
        dotted = "softmax_notes." + module.replace("/", ".")
        todo |= {f"{dotted}.{name}": f"{dotted}.{f}" for name, f in functions.items()}
    job = tree / "job.json"
    job.write_text(json.dumps(todo))
    plain = {"HYPOTHESIS_PROFILE": "mutants", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    plugins = ["no:nbval", "no:xdist", "no:cacheprovider", "no:anyio", "tests.mutants.loop"]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=no", *tests]
        + [word for plugin in plugins for word in ("-p", plugin)],
        cwd=tree,
        # What runs at import is counted, so that the plugin can tell it from the rest.
        env=os.environ
        | plain
        | {JOB: str(job), "PYTHONPATH": str(tree), "MUTANT_UNDER_TEST": "stats"},
        stdout=(tree / "log").open("w"),
        check=True,
    )
    answer = json.loads(job.read_text())
    for test in answer["failing"]:
        print(f"left out, as it fails without a mutant: {test}")
    verdicts = defaultdict(dict)
    for module, (_, functions) in jobs.items():
        dotted = "softmax_notes." + module.replace("/", ".")
        verdicts[module] = {name: answer["verdicts"][f"{dotted}.{name}"] for name in functions}
    return verdicts


def brought_up_to_date(tests, group, sample):
    """Try what was not tried yet, and again what no test had killed; give what is to be stored."""
    before, known = {module: start(module) for module in group}, reasons()
    found = {module: mutated(path_of(module)) for module in group}
    jobs = {}
    for module, (code, mutants) in found.items():
        order = random.Random(SEED).sample(list(mutants), len(mutants))
        alive = [m["mutant"] for m in before[module]["alive"] if not reason_of(m, known)]
        names = alive + order[before[module]["tried"] : sample]
        if names:
            jobs[module] = code, {name: mutants[name][0] for name in names}
    verdicts = attempt(tests, jobs) if jobs else {}
    return {
        module: updated(module, before[module], mutants, verdicts.get(module, {}))
        for module, (_, mutants) in found.items()
        if mutants
    }


def start(module):
    """Give what is stored of a module; of one that changed since, the first sample alone."""
    old = results().get(module, {})
    source = hashlib.sha256((ROOT / path_of(module)).read_bytes()).hexdigest()[:12]
    if old.get("source") == source:
        return old
    first = {"first": old["first"]} if "first" in old else {}
    return {"source": source, "tried": 0, "alive": []} | dict.fromkeys(COUNTED, 0) | first


def updated(module, old, mutants, verdicts):
    """Add what became of the mutants of a module to what is stored."""
    again = {mutant["mutant"] for mutant in old["alive"]}
    kept = [mutant for mutant in old["alive"] if mutant["mutant"] not in verdicts]
    kinds = Counter(kind(verdict) for verdict in verdicts.values())
    commit = ["git", "rev-parse", "--short=7", "HEAD"]
    new = {"commit": subprocess.check_output(commit, cwd=ROOT, text=True).strip()}
    new |= {"source": old["source"], "mutants": len(mutants)}
    new |= {"tried": old["tried"] + len(verdicts.keys() - again)}
    new |= {k: old.get(k, 0) + kinds[k] for k in COUNTED}
    kinds_of_new = Counter(kind(verdicts[name]) for name in verdicts.keys() - again)
    n, lived = old.get("first", [kinds_of_new.total(), kinds_of_new["alive"]])
    if "first" in old:  # of what lived then, what cannot be tried was told apart since
        passed = sum(kind(verdicts[name]) == "import" for name in verdicts.keys() & again)
        n, lived = n - passed, lived - passed
    else:
        n -= kinds_of_new["import"]
    new["first"] = [n, lived]
    new["alive"] = kept + [
        {
            "mutant": name,
            "function": f"{module}.{readable(mutants[name][0])}",
            "verdict": verdict,
            "before": mutants[name][1],
            "after": mutants[name][2],
        }
        for name, verdict in sorted(verdicts.items())
        if kind(verdict) == "alive"
    ]
    return new


def kind(verdict):
    if verdict in ("survived", "unreached"):
        return "alive"
    return next((k for k in ("timeout", "crash", "import") if verdict.startswith(k)), "killed")


def readable(mangled):
    return mangled.removeprefix("x_").replace("xǁ", "").replace("ǁ", ".")


def results():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def reasons():
    """Give the reason for each equivalent mutant, by function and change."""
    entries = tomllib.loads((HERE / "equivalent.toml").read_text())["equivalent"]
    return {tuple(mutant): entry["reason"] for entry in entries for mutant in entry["mutants"]}


WORDS = "Words for people, which may be put in another way."
NAMES = "A symbol by another name, or with more or less assumed of it: the same identity."


def reason_of(mutant, known):
    """Say why a mutant cannot be killed, if so."""
    key = mutant["function"], mutant["before"], mutant["after"]
    if key in known:
        return known[key]
    if len({re.sub(r'"[^"]*"', spoken, text) for text in key[1:]}) == 1:
        return WORDS
    assumed = r'"[^"]*"|None|, (positive|nonnegative|real|integer|rational)=\w+|, (?=\))'
    made = re.search("symbols?\\(|scores\\(", key[1], re.IGNORECASE)
    if key[0].startswith("symbolic") and made and blank(assumed, *key[1:]):
        return NAMES
    return None


def spoken(string):
    """Leave out the words of a quotation, but not its code; a single word may be a name."""
    return "".join(re.findall(r"{[^{}]*}", string[0])) if " " in string[0] else string[0]


def blank(pattern, *texts):
    """Tell whether texts are the same but for what matches a pattern."""
    return len({re.sub(pattern, "", " ".join(text.split())) for text in texts}) == 1


def score(entries):
    """Estimate the share of all mutants that the tests kill, and how far that may be off.

    What counts is the first sample of each module: tests were added for its survivors, so that
    it says more of them than of other mutants now. Of equivalent ones those known are left out.
    """
    known, total = reasons(), sum(entry["mutants"] for entry in entries)
    share, variance = 1.0, 0.0
    for entry in entries:
        n, alive, weight = *entry["first"], entry["mutants"] / total
        same = min(alive, sum(bool(reason_of(mutant, known)) for mutant in entry["alive"]))
        n, alive = n - same, alive - same
        if not n:
            continue
        share -= weight * alive / n
        p = (alive + 0.5) / (n + 1)
        variance += weight**2 * p * (1 - p) / n
    return share, 1.96 * math.sqrt(variance)


def summary(stored, known):
    """Say in a sentence what was tried, and how much of it the tests see."""
    total = sum(entry["mutants"] for entry in stored.values())
    tried, same, alive = counts(stored, known)
    share, interval = score(stored.values())
    return (
        f"Of {total:,} mutants in {len(stored)} modules, {tried:,} drawn by chance were tried: "
        f"{same} change nothing that can be seen, and of the other {tried - same:,} the tests "
        f"kill {1 - alive / (tried - same):.1%}, all but {alive}. Before tests were added for "
        f"those that lived, they killed {share:.1%} ± {interval:.1%} (95 % confidence)."
    )


def counts(stored, known):
    """Count the mutants that were tried, those that change nothing, and the others alive."""
    tried = sum(entry["tried"] - entry.get("import", 0) for entry in stored.values())
    alive = [mutant for entry in stored.values() for mutant in entry["alive"]]
    same = sum(bool(reason_of(mutant, known)) for mutant in alive)
    return tried, same, len(alive) - same


def report():
    """Give README.md: a sentence, a table, and the mutants that live."""
    stored, known = results(), reasons()
    lines = ["# Mutants", "", summary(stored, known), "", *ABOUT.splitlines(), ""]
    lines += [
        "| module | commit | mutants | tried | killed | too slow | equivalent | alive | at first |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for module, entry in sorted(stored.items()):
        tried, same, alive = counts({module: entry}, known)
        killed = entry["killed"] + entry["crash"]
        n, lived = entry["first"]
        lines.append(
            f"| `{module}` | {entry['commit']} | {entry['mutants']} | {tried} | {killed} "
            f"| {entry['timeout']} | {same} | {alive} | {lived} of {n} |"
        )
    alive = [mutant for _, entry in sorted(stored.items()) for mutant in entry["alive"]]
    lines += ["", "## Equivalent", ""]
    for reason in dict.fromkeys([WORDS, NAMES, *known.values()]):
        same = [mutant for mutant in alive if reason_of(mutant, known) == reason]
        if reason in (WORDS, NAMES):
            lines += [f"{reason[:-1]}: {len(same)} mutants.", ""]
        elif same:
            lines += [reason, "", *map(shown, same), ""]
    lines += ["## Alive", "", "No test kills these, and nothing says that none could.", ""]
    lines += [shown(mutant) for mutant in alive if not reason_of(mutant, known)]
    return "\n".join(lines).rstrip() + "\n"


def publish():
    """Write README.md, and its sentence into the page for contributors."""
    sentence = summary(results(), reasons())
    (HERE / "README.md").write_text(report())
    page = ROOT / "CONTRIBUTING.md"
    marks = r"(?<=<!-- mutants -->\n).*(?=\n<!-- /mutants -->)"
    page.write_text(re.sub(marks, lambda _: sentence, page.read_text(), flags=re.DOTALL))
    print(sentence)


def shown(mutant):
    before, after = (" ".join(mutant[k].split()) for k in ("before", "after"))
    unreached = " (no test comes here)" if mutant["verdict"] == "unreached" else ""
    return f"- `{mutant['function']}`{unreached}: `{before}` → `{after}`"


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as jacobian or symbolic/jacobian")
    parser.add_argument("--sample", type=int, default=60, help="mutants of a module (default 60)")
    options = parser.parse_args()
    groups = defaultdict(list)
    for module in options.modules or modules():
        groups[tests_of(module)].append(module)
    for tests, group in groups.items():
        new = brought_up_to_date(tests, group, options.sample)
        RESULTS.write_text(json.dumps(results() | new, indent=1, ensure_ascii=False) + "\n")
        for module, entry in new.items():
            print(f"{module}: {entry['tried']} tried, {len(entry['alive'])} alive", flush=True)
    publish()


if __name__ == "__main__":
    main()
