"""The package where NumPy is all there is: what works, and what the errors say about the rest."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from softmax_notes._extras import needs

ROOT = Path(__file__).parent.parent
BARE = r"""
import doctest, importlib, pkgutil, sys
import array_api_compat.numpy  # it loads parts of NumPy that look for other libraries
import softmax_notes

THERE = sys.stdlib_module_names | {"numpy", "array_api_compat", "softmax_notes"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in THERE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

class Runner(doctest.DocTestRunner):
    def report_failure(self, out, test, example, got):
        out(f"wrong {test.name} {got!r} -\n")

    def report_unexpected_exception(self, out, test, example, exc_info):
        out(f"example {test.name} {missing(exc_info[1])} {exc_info[1]}\n")

def missing(error):
    return getattr(error.__cause__, "name", None) or type(error).__name__

sys.meta_path.insert(0, Absent())
for info in pkgutil.walk_packages(softmax_notes.__path__, "softmax_notes.", onerror=lambda _: 0):
    if "._" in info.name:
        continue
    try:
        module = importlib.import_module(info.name)
    except ImportError as error:
        print("module", info.name, missing(error), error)
        continue
    runner = Runner(optionflags=doctest.FAIL_FAST)
    for test in doctest.DocTestFinder().find(module):
        runner.run(test)
    print("ran", info.name, runner.tries)

# Functions whose examples stop at another library than the one that they import themselves.
from softmax_notes import data, regression
np = array_api_compat.numpy
X, y = np.ones((2, 1)), np.array([0, 1])
tiny = data.Dataset(X, y, X, y, (1, 1), ("a", "b"))
for call in (
    lambda: regression.train_by_hand(tiny),
    lambda: regression.train_autograd(tiny),
    lambda: data.load_fashion_mnist(),
):
    try:
        call()
    except Exception as error:
        print("call", call.__code__.co_names[1], missing(error), error)
"""


def judge(output):
    """Judge what BARE printed: examples ran, and whatever failed names the right extra."""
    lines = [line.split(maxsplit=3) for line in output.splitlines()]
    ran = {line[1]: int(line[2]) for line in lines if line[0] == "ran"}
    for stem in ("definition", "cross_entropy", "jacobian", "streaming", "vocabulary"):
        assert ran[f"softmax_notes.{stem}"] > 4  # as many examples as its docstrings have, or more
    refused = {line[1]: line[2:] for line in lines if line[0] != "ran"}
    assert {"softmax_notes.figures", "softmax_notes.symbolic", "softmax_notes.check"} <= set(
        refused
    )
    assert {"softmax_notes.data.load_digits", "softmax_notes.exp_approximation.minimax"} <= set(
        refused
    )
    assert {name: library for name, (library, _) in refused.items() if "." not in name} == {
        "train_by_hand": "tqdm",
        "train_autograd": "torch",
        "load_fashion_mnist": "pooch",
    }
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    brings = {"sklearn": "scikit-learn"}  # where a library is not called as its distribution
    for name, (library, message) in refused.items():
        named = re.search(r"pip install 'softmax-notes\[(\w+)\]'", message)
        assert named is not None, (name, library, message)
        needed = brings.get(library, library)
        assert any(re.match(rf"{needed}\b", line) for line in extras[named[1]]), (name, library)


def test_only_a_library_that_is_missing_is_asked_for():
    wanted = r"^no_such_library is needed: pip install 'softmax-notes\[data\]'$"
    with pytest.raises(ImportError, match=wanted) as caught, needs("data"):
        import no_such_library.part  # noqa: F401
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    with pytest.raises(ImportError, match=r"^xml is needed"), needs("data"):
        import xml.no_such_part  # noqa: F401
    with pytest.raises(ZeroDivisionError), needs("data"):
        _ = 1 / 0
    with needs("data"):
        pass


def test_with_numpy_alone_the_core_works_and_the_rest_names_the_extra_that_it_needs():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BARE], capture_output=True, text=True, check=True
    )
    judge(done.stdout)
