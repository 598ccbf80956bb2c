"""The package as a whole: what is public, what imports what, what an import loads."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reference import modules

import softmax_notes
from tests.pytorch import Absent, torch

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "softmax_notes"
LACKING = isinstance(torch, Absent)
NEED_TORCH = (".linear_cross_entropy", ".parallel")
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(softmax_notes.__path__, "softmax_notes.")
    if "._" not in info.name and not (LACKING and info.name.endswith(NEED_TORCH))
)
HELPERS = {
    "_arrays", "_extras", "_losses", "symbolic", "figures", "data", "huffman",
    "linear_cross_entropy", "out_of_core", "parallel", "sampled_softmax",
}  # fmt: skip
PROOFS = "softmax_notes.symbolic."  # one module a chapter; every proof takes n, at most
HEAVY = {
    "hypothesis",
    "mpmath",
    "rich",
    "dask",
    "jax",
    "matplotlib",
    "pooch",
    "scipy",
    "sklearn",
    "sympy",
    "torch",
    "tqdm",
}


def tree_of(name):
    module = importlib.import_module(name)
    return ast.parse(Path(module.__file__).read_text(encoding="utf-8"))


def defined_names(tree):
    """Names that a module makes itself, by def, class or assignment; imports are not its own."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))


def public_functions():
    """Functions and classes that a module writes out; constants have comments instead."""
    for name in MODULES:
        module = importlib.import_module(name)
        for node in tree_of(name).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in module.__all__:
                yield pytest.param(getattr(module, node.name), id=f"{name}.{node.name}")


@pytest.mark.parametrize("name", ["softmax_notes", *MODULES])
def test_all_is_the_truth(name):
    module = importlib.import_module(name)
    assert isinstance(module.__doc__, str)
    assert [member for member in module.__all__ if not hasattr(module, member)] == []
    assert len(set(module.__all__)) == len(module.__all__)
    own = {member for member in defined_names(tree_of(name)) if not member.startswith("_")}
    if hasattr(module, "__path__"):  # a package also hands on what its modules make
        assert own <= set(module.__all__)
    else:
        assert own == set(module.__all__)


def test_what_the_package_exports_is_public_where_it_is_made():
    for member in softmax_notes.__all__:
        home = inspect.getmodule(getattr(softmax_notes, member))
        assert member in home.__all__


@pytest.mark.parametrize("function", list(public_functions()))
def test_every_public_function_is_documented_with_an_example(function):
    doc = inspect.getdoc(function)
    assert "Examples\n--------" in doc
    assert ">>> " in doc
    if inspect.isfunction(function) and not function.__module__.startswith(PROOFS):
        section = re.search(r"Parameters\n-+\n(.*?)(?:\n\w+\n-+\n|\Z)", doc, re.DOTALL)
        lines = re.findall(r"^\S.*", section[1], re.MULTILINE) if section else []
        named = {name.strip("* ") for line in lines for name in line.split(" : ")[0].split(",")}
        assert named == set(inspect.signature(function).parameters)


@pytest.mark.skipif(LACKING, reason="two modules need PyTorch")
def test_the_book_describes_every_public_module():
    groups = modules(ROOT)
    described = [f"softmax_notes.{name}" for group in groups.values() for name in group]
    assert sorted(described) == MODULES
    book = ROOT / "book"
    page = (book / "api.md").read_text(encoding="utf-8")
    assert re.findall(r"\{package-reference\} (\w+)", page) == list(groups)
    pages = {path.stem: path.read_text(encoding="utf-8") for path in book.glob("api/*.md")}
    assert sorted(pages) == sorted([*groups["chapters"], *groups["helpers"]])
    assert {proofs.removeprefix("symbolic.") for proofs in groups["proofs"]} <= pages.keys()
    for stem, page in pages.items():
        assert page == f"# {stem}\n\n```{{module-reference}} {stem}\n```\n"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_helpers_and_definition_and_at_most_one_more(name):
    imported = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    if name.startswith(
        PROOFS
    ):  # a chapter's proofs need the tools for proofs, and no more of the package
        others = {n for n in MODULES if n in imported} - {"softmax_notes.symbolic"}
        assert len({n for n in others if n.startswith(PROOFS)}) <= 1
        assert {n for n in others if not n.startswith(PROOFS)} == set()
    else:
        flat = {n.split(".")[1] for n in imported if n.startswith("softmax_notes.")}
        known = {path.stem for path in PACKAGE.iterdir()}
        assert len((flat & known) - HELPERS - {"definition"}) <= 1


def test_importing_the_package_loads_numpy_and_nothing_heavier():
    code = "import sys, softmax_notes; print(*sorted({n.split('.')[0] for n in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "numpy" in loaded
    assert HEAVY & set(loaded) == set()
