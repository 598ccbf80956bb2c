"""The page on which SymPy runs in the browser: its program, and how its files are fetched."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
import sympy as sp
from derive import add_proofs, fetched
from fetch_python import PINNED, check, pack

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "book" / "_assets" / "derive" / "program.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("derive_program", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_program_derives_what_the_quotient_rule_gives(program, n):
    w = sp.symbols(f"w_1:{n + 1}", positive=True)
    # (S w_i δ_ij − w_i w_j) / S², by hand.
    by_hand = sp.Matrix(n, n, lambda i, j: w[i] * ((sum(w) if i == j else 0) - w[j]))
    derived = program.numerators(n).subs(sp.Symbol("S"), sum(w))
    assert (derived - by_hand).expand() == sp.zeros(n, n)


def test_the_program_says_which_claims_hold_and_which_do_not(program, monkeypatch):
    said = json.loads(program.derive(3))
    assert said["n"] == 3
    assert [(check["zeros"], check["of"]) for check in said["checks"]] == (
        [(9, 9), (9, 9), (6, 6), (1, 1)]
    )
    assert said["matrix"].count("<mtd>") == 9
    assert said["matrix"].count("<mo>−</mo>") == 9, "three in S − w, six before products"
    assert "&" not in said["matrix"], "names of letters that not every reader knows"
    monkeypatch.setattr(program.proofs, "symmetry_residual", lambda n: sp.eye(n))
    assert json.loads(program.derive(2))["checks"][1]["zeros"] == 2


def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path):
    file = tmp_path / "python.wasm"
    file.write_bytes(b"wasm")
    check(file, sha256(b"wasm").hexdigest())
    with pytest.raises(ValueError, match=r"python\.wasm is not the file that was pinned"):
        check(file, sha256(b"else").hexdigest())


def test_what_is_pinned_is_what_the_rest_of_the_book_uses():
    pinned = {package["name"]: package for package in json.loads(PINNED.read_text("utf-8"))}
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    for name in ("sympy", "mpmath"):
        assert f"{name}=={pinned[name]['version']}" in requirements
    assert all(len(d) == 64 for p in pinned.values() for d in p["files"].values())


def test_the_library_has_the_packages_without_their_tests_and_our_proofs(tmp_path):
    wheel, library = tmp_path / "sympy.whl", tmp_path / "library.zip"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("sympy/core.py", "sympy/tests/test_core.py", "sympy.dist-info/LICENSE"):
            archive.writestr(name, "x = 1")
    pack([wheel], library)
    once = library.read_bytes()
    pack([wheel], library)
    assert library.read_bytes() == once
    add_proofs(ROOT / "softmax_notes", library)
    with zipfile.ZipFile(library) as archive:
        names = archive.namelist()
        assert archive.read("softmax_notes/__init__.py") == b"", "no NumPy there"
        assert {e.date_time for e in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert {"sympy/core.py", "sympy.dist-info/LICENSE"} <= set(names)
    assert "sympy/tests/test_core.py" not in names
    assert "softmax_notes/symbolic/jacobian.py" in names


def test_the_proofs_in_the_library_run_beside_sympy_alone(tmp_path):
    library, packages = tmp_path / "library.zip", Path(sp.__file__).parent.parent
    add_proofs(ROOT / "softmax_notes", library)
    # SymPy and what it needs are found where they are installed; ours is the library's.
    code = f"""
import sys
sys.path[:0] = [{str(library)!r}, {str(packages)!r}]
from softmax_notes.symbolic.jacobian import trace_residual
import softmax_notes
assert softmax_notes.__file__.startswith({str(library)!r})
assert "numpy" not in sys.modules
print(trace_residual(2))
"""
    command = [sys.executable, "-I", "-S", "-c", code]  # no installed copy of ours either
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout == "0\n", result.stderr


def test_without_the_library_nothing_is_taken_for_fetched(tmp_path):
    folder = tmp_path / "_build" / "live"
    folder.mkdir(parents=True)
    (folder / "pyodide.mjs").write_text("")
    assert fetched(tmp_path) == []
    (folder / "library.zip").write_bytes(b"")
    assert [path.name for path in fetched(tmp_path)] == ["library.zip", "pyodide.mjs"]
