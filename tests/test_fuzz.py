"""Any argument to any public function: a right answer, or an error that says what is wrong.

A function is called with arguments that fit together, of which up to two are replaced by anything
at all. What may come of it: a result of the shape, dtype and values that the arguments ask for;
or a TypeError, ValueError or IndexError that names the argument, or shows what was given for it.
What may not: any other error, a warning, an argument that is changed, a call without an end.
"""

import contextlib
import dataclasses
import decimal
import fractions
import importlib
import inspect
import pkgutil
import re
import signal
import warnings

import array_api_strict
import dask
import dask.array as da
import numpy as np
import pytest
import sympy as sp
import torch
from array_api_compat import is_array_api_obj
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch.distributed import HashStore

import softmax_notes
from softmax_notes import (
    alternatives,
    check,
    choice,
    data,
    fast,
    figures,
    huffman,
    linear_cross_entropy,
    overflow,
    regression,
    sampled_softmax,
    sampling,
    streaming,
    symbolic,
    vocabulary,
)
from tests.libraries import LIBRARIES, to_numpy

EXAMPLES = settings.default.max_examples  # thousands in the profile `thorough`, else a few
EXAMPLES = EXAMPLES if EXAMPLES >= 1000 else max(1, EXAMPLES // 10)
# A call of these takes a tenth of a second or more: fewer examples.
COSTLY = (
    "check.", "data.", "exp_approximation.polynomial_for", "fast.C", "figures.", "out_of_core.",
)  # fmt: skip
CPU_LIMIT = 60  # seconds of computing that no call may take, compilation included
HUGE = 2**45  # as a length: more than any memory holds
# They go on for as long as they are asked to; so do proofs for n entries.
PATIENT = {"epochs", "max_examples"}
# Formulas as a book writes them, or for shares that nobody checks: with numbers too large they
# overflow as NumPy does, with its warning.
PLAIN = {
    "exp_approximation.pade_exp", "exp_approximation.range_reduction",
    "exp_approximation.taylor_exp", "jacobian.softmax_jacobian", "jacobian.softmax_jvp",
    "jacobian.softmax_vjp", "overflow.by_parts", "overflow.chained_gradient",
    "overflow.logsumexp_bound", "overflow.naive_log_softmax", "overflow.naive_logsumexp",
    "overflow.naive_softmax", "overflow.running_sum", "overflow.shifted_softmax",
    "overflow.softmax_bound", "streaming.summarize_loss",
}  # fmt: skip
# A file that is not there, and an address that nobody answers; PyTorch, where it cannot add.
MAY_ALSO = {"data": OSError, "overflow": NotImplementedError}
# Processes, which tests/test_parallel.py starts; and nothing to get wrong.
LEFT_OUT = {"parallel.main", "parallel.processes", "regression.Accumulator.reset"}


def public():
    """Every public function and class with arguments, and the public methods of the classes."""
    found = {}
    for info in pkgutil.walk_packages(softmax_notes.__path__, "softmax_notes."):
        if "._" in info.name:
            continue
        module = importlib.import_module(info.name)
        home = info.name.removeprefix("softmax_notes.")
        for name in module.__all__:
            member = getattr(module, name)
            if inspect.isfunction(member):
                found[f"{home}.{name}"] = member
            elif inspect.isclass(member):
                record = hasattr(member, "_fields") or dataclasses.is_dataclass(member)
                if record or issubclass(member, sp.Function):
                    continue  # it holds whatever it is given
                found[f"{home}.{name}"] = member
                for method, routine in vars(member).items():
                    own = inspect.isroutine(routine) or isinstance(routine, classmethod)
                    if own and not method.startswith("_"):
                        found[f"{home}.{name}.{method}"] = getattr(member, method)
    return found


def parameters(name):
    found = inspect.signature(PUBLIC[name]).parameters.values()
    return [p for p in found if p.kind is not p.VAR_KEYWORD]


PUBLIC = public()
NAMES = sorted(name for name in PUBLIC.keys() - LEFT_OUT if parameters(name))


# --- arguments that fit together


class Fitting:
    """Arguments by the names of parameters, all of one library, whose shapes go together."""

    def __init__(self, draw, name):
        self.draw, (self.home, _, self.function) = draw, name.partition(".")
        one = {"linear_cross_entropy": "torch", "out_of_core": "dask", "parallel": "torch"}
        one = one.get(self.home)
        if self.home in ("fast", "figures", "data", "check", "huffman", "symbolic"):
            one = "numpy"
        self.of = LIBRARIES[one or draw(st.sampled_from(["numpy", "torch", "strict"]))]
        self.rows, self.n, self.width = (draw(st.integers(1, 3)) for _ in range(3))
        kinds = ["float64", "float32"] + ["float16"] * (self.of.name != "strict")
        self.dtype = draw(st.sampled_from(kinds))
        self.shape = (self.rows, self.n)
        self.axis = -1
        if self.any_axis(name):
            shapes = [(self.n,), self.shape, (*self.shape, 2), (0, self.n)]
            if self.function == "soft_top_k":  # of no entries there is none to take
                shapes.pop()
            self.shape = draw(st.sampled_from(shapes))
            self.axis = draw(st.integers(-len(self.shape), len(self.shape) - 1))
        self.x = self.array(*self.shape)

    def any_axis(self, name):
        asked = {p.name for p in parameters(name)}
        others = {"logits", "nests", "ranking", "u", "y"}
        return "axis" in asked and not others & asked and self.home != "overflow"

    def array(self, *shape, low=-3.0, high=3.0):
        values = self.draw(st.lists(st.floats(low, high, width=16), min_size=1, max_size=4))
        return self.of(np.resize(values, shape), self.dtype)

    def full(self, value, *shape):
        return self.of(np.full(shape, value), self.dtype)

    def classes(self, size):
        drawn = self.draw(st.lists(st.integers(0, self.n - 1), min_size=size, max_size=size))
        return self.of(drawn, "int64")

    def state(self, values=None):
        return streaming.summarize(self.array(self.rows, self.n), values)

    def loss(self):
        shares = self.full(1 / self.n, self.rows, self.n)
        return streaming.summarize_loss(self.array(self.rows, self.n), shares)

    def dataset(self):
        train = np.resize([0.0, 1.0], (4, self.width)), np.arange(4) % self.n
        test = np.ones((2, self.width)), np.zeros(2, dtype=np.int64)
        return data.Dataset(*train, *test, (1, self.width), tuple("abc"[: self.n]))

    def __getitem__(self, name):
        special = SPECIAL.get(self.home, {}) | SPECIAL.get(f"{self.home}.{self.function}", {})
        made = special[name] if name in special else USUAL[name]
        return made(self) if callable(made) else self.draw(made)


def one(*values):
    return st.sampled_from(values)


# A strategy, or a function of the arguments so far.
USUAL = {
    "x": lambda f: f.x,
    "axis": lambda f: f.axis,
    "where": lambda f: f.of(np.ones(f.shape, dtype=bool)),
    "b": lambda f: f.array(*f.shape),
    "p": lambda f: f.full(0.5, *f.shape),
    "v": lambda f: f.array(*f.shape),
    "g": lambda f: f.array(*f.shape),
    "y": lambda f: f.full(1 / f.n, *f.shape),
    "z": lambda f: f.x,
    "u": lambda f: f.full(0.25, *f.shape),
    "c": one(0.0, 1.0),
    "like": lambda f: f.x,
    "mean": lambda f: f.full(0.0),
    "logits": lambda f: f.array(f.rows, f.n),
    "target": lambda f: f.classes(f.rows),
    "weight": lambda f: f.full(0.5, f.n),
    "ignore_index": one(None, 0, -100),
    "label_smoothing": one(0.0, 0.25, 1),
    "reduction": one("mean", "sum", "none"),
    "keepdims": st.booleans(),
    "return_sign": st.booleans(),
    "alpha": one(1.0, 0.5, -2.0, 3),
    "temperature": one(1.0, 0.5, 2),
    "k": one(1),
    "top_k": one(1),
    "top_p": one(0.5, 1.0),
    "X": lambda f: f.array(f.rows, f.width),
    "W": lambda f: f.array(f.n, f.width),
    "bias": lambda f: f.array(f.n),
    "samples": lambda f: f.classes(2),
    "log_q": lambda f: f.full(-1.0, f.n),
    "remove_hits": st.booleans(),
    "query": lambda f: f.array(f.rows, f.width),
    "key": lambda f: f.array(f.n, f.width),
    "value": lambda f: f.array(f.n, 2),
    "output_grad": lambda f: f.array(f.rows, 2),
    "mask": lambda f: f.of(np.ones((f.rows, f.n), dtype=bool)),
    "is_causal": st.booleans(),
    "enable_gqa": one(False),
    "scale": one(0.5, 1),
    "block_size": one(1, 3),
    "offset": one(-1, 0, 1),
    "scores": lambda f: f.array(f.rows, f.n),
    "values": lambda f: f.array(f.n, 2),
    "shape": lambda f: (f.rows,),
    "state": lambda f: f.state(),
    "chunks": lambda f: [f.array(f.rows, f.n), f.array(f.rows, 1)],
    "amount": lambda f: f.full(1 / f.n, f.rows, f.n),
    "seen": lambda f: f.loss(),
    "nodes": lambda f: f.array(f.n - 1, f.width),
    "tree": lambda f: huffman.huffman_tree(np.arange(1, f.n + 1)),
    "head": lambda f: f.array(f.n + 1, f.width),
    "tails": lambda f: [(f.array(2, f.width), f.array(2, 2))],
    "nests": lambda f: [[0], list(range(1, f.n))][: min(f.n, 2)],
    "dissimilarity": one(0.5, 1),
    "ranking": one([0]),
    "table": one({("a", "b"): (0.5, 0.5)}),
    "tolerance": one(0.0, 1e-9),
    "degree": one(2, 3),
    "m": one(0, 3),
    "n": one(1, 4),
    "last": one(1, 9),
    "dtype": one("float32", "float64"),
    "core": lambda f: lambda r: 1 + r,
    "unit": one(2.0**-24),
    "function_error": one(2.0),
    "shifted": st.booleans(),
    "finfo": one(np.finfo("float32")),
    "two_sum": st.booleans(),
    "log1p": st.booleans(),
    "accurate_sum": st.booleans(),
    "rule": lambda f: softmax_notes.softmax,
    "law": one("shift", "odds"),
    "tile": one(1, 8),
    "rows": one(8),
    "ranks": one(2),
    "itemsize": one(4),
    "timeout": one(5.0),
    "dataset": lambda f: f.dataset(),
    "epochs": one(1),
    "learning_rate": one(0.5),
    "batch_size": one(2),
    "seed": one(0),
    "progress": one(False),
    "n_features": one(2),
    "n_classes": one(3),
    "rng": lambda f: np.random.default_rng(0),
    "predict": lambda f: lambda X: np.zeros((len(X), 2)),
    "batches": lambda f: [(np.zeros((2, 1)), np.zeros(2, dtype=np.int64))],
    "self": lambda f: OWNERS[f.function.partition(".")[0]](),
    "index": one(0),
    "weights": one([1.0, 2.0]),
    "counts": one([1, 2, 3]),
    "power": one(0.75, 1),
    "size": one(3, (2, 2)),
    "number": one(1, 2),
    "level": one("textbook"),
    "library": one("numpy"),
    "kind": one("softmax"),
    "function": lambda f: softmax_notes.softmax,
    "f": lambda f: softmax_notes.softmax,
    "ndim": one(1),
    "max_examples": one(1),
    "path": one("missing.idx"),
    "folder": one("folder"),
    "base_url": one("http://127.0.0.1:9/"),
    "download_if_missing": one(False),
    "test_size": one(0.5),
    "name": one("digits"),
    "ax": lambda f: Figure().add_subplot(),
    "matrix": lambda f: np.eye(2),
    "images": lambda f: np.zeros((2, 2, 2)),
    "columns": one(["a", "b"]),
    "titles": one(["a", "b"]),
    "limit": one(1.0),
    "levels": one(4),
    "labels": one("abc"),
    "fontsize": one(8.0),
}
SPECIAL = {
    "alternatives.fenchel_young_loss": {"rule": one("softmax", "sparsemax", "entmax15")},
    "attention.attention": {"bias": lambda f: f.array(f.rows, f.n)},
    "attention.tiled_attention": {"bias": lambda f: f.array(f.rows, f.n)},
    "attention.tiled_attention_vjp": {"bias": lambda f: f.array(f.rows, f.n)},
    "exp_approximation.cordic_exp": {"x": lambda f: f.array(3, low=-0.5, high=0.5)},
    "exponential.maximum_entropy": {"x": lambda f: f.full(0.0, *f.shape)},
    "fast.CrossEntropyLoss": {"weight": lambda f: torch.ones(f.n)},
    "fast.CrossEntropyLoss.forward": {
        "logits": lambda f: torch.ones(f.rows, f.n),
        "target": lambda f: torch.zeros(f.rows, dtype=torch.int64),
    },
    "figures": {"p": lambda f: np.eye(3), "rows": one(["a", "b"]), "values": one(".2f")},
    "figures.pictures": {"columns": one(2)},
    "regression": {
        "W": lambda f: f.array(f.width, f.n), "b": lambda f: f.array(f.n),
        "values": one(1.0),
    },
    "sampling.inverse_cdf": {"u": lambda f: f.full(0.25, f.rows)},
    "symbolic": {
        **dict.fromkeys(["d", "degree", "draws", "m", "n", "named", "size", "terms"], one(2)),
        **dict.fromkeys(["features", "least", "rows", "turn", "value"], one(1)), "sign": one(-1),
        **dict.fromkeys("xpyu", lambda f: symbolic.scores(2)), "expression": one(0),
        "codes": one(["0", "1"]),
        "name": one("x"), "number": one(sp.sqrt(2)),
    },
    "streaming.identity": {"width": one(2)},
    "streaming.mean": {"state": lambda f: f.state(f.array(f.n, 2))},
    "streaming.merge": dict.fromkeys("ab", lambda f: f.state()),
    "streaming.merge_losses": dict.fromkeys("ab", lambda f: f.loss()),
    "streaming.update": {"values": one(None)},
}  # fmt: skip
OWNERS = {
    "Accumulator": lambda: regression.Accumulator(1),
    "CrossEntropyLoss": lambda: importlib.import_module("softmax_notes.fast").CrossEntropyLoss(),
    "Report": lambda: importlib.import_module("softmax_notes.check").Report("f", "", "", ""),
    "Proposal": lambda: sampled_softmax.Proposal([1.0, 2.0]),
}


# --- anything


def quietly(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of its rarer kinds of tensors
        return make()


NUMBERS = [0.0, 1.0, 2.0]
DTYPES = [
    "float16", "float32", "float64", "longdouble", ">f4", ">f8", "int8", "uint8", "int64", ">i4",
    "uint64", "bool", "complex64", "complex128", "object", "U3", "S3", "datetime64[s]",
    "timedelta64[s]",
]  # fmt: skip
EXTREMES = [
    (np.nan, "f8"), (np.inf, "f8"), (-np.inf, "f4"), (1.7e308, "f8"), (-1.7e308, "f8"),
    (3.4e38, "f4"), (65504, "f2"), (5e-324, "f8"), (1e-45, "f4"), (-0.0, "f8"),
]  # fmt: skip
SHAPED = ["f8", "i8", "?"]
SHAPES = [(), (0,), (1,), (2,), (3,), (2, 3), (3, 2), (1, 1), (2, 0, 3), (1, 1, 1, 1, 1)]
ARRAYS = {
    **{f"numpy {d}": lambda d=d: np.array(NUMBERS).astype(d) for d in DTYPES},
    **{f"numpy {v} {d}": lambda v=v, d=d: np.array([v, 1], dtype=d) for v, d in EXTREMES},
    **{f"numpy {s} {d}": lambda s=s, d=d: np.ones(s, d) for s in SHAPES for d in SHAPED},
    "numpy all -inf": lambda: np.full((2, 3), -np.inf),
    "numpy structured": lambda: np.zeros(2, dtype=[("a", "f8"), ("b", "i4")]),
    "numpy of None": lambda: np.array(["a", None], dtype=object),
    "numpy masked": lambda: np.ma.array([1.0, 2.0], mask=[False, True]),
    "numpy matrix": lambda: np.array([[1.0, 2.0]]).view(np.matrix),
    "numpy every second": lambda: np.arange(6.0)[::2],
    "numpy backwards": lambda: np.arange(6.0).reshape(2, 3)[:, ::-1],
    "numpy transposed": lambda: np.arange(6.0).reshape(3, 2).T,
    "numpy broadcast": lambda: np.broadcast_to(np.array(1.0), (2, 3)),
    "numpy read-only": lambda: np.frombuffer(np.arange(3.0).tobytes()),
    "numpy unaligned": lambda: np.frombuffer(b"x" + np.ones(3).tobytes(), offset=1),
    "numpy negative": lambda: -np.arange(1, 4),
    "numpy past int64": lambda: np.array([2**63, 2**64 - 1], dtype=np.uint64),
    "numpy number": lambda: np.float32(1.5),
    "numpy bool": lambda: np.bool_(True),
    "numpy word": lambda: np.str_("x"),
    "numpy date": lambda: np.datetime64("2020-01-01"),
    "torch": lambda: torch.tensor([1.0, 2.0]),
    "torch int8": lambda: torch.tensor([1, 0], dtype=torch.int8),
    "torch bool": lambda: torch.tensor([True, False]),
    "torch bfloat16": lambda: torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
    "torch complex": lambda: torch.tensor([1j, 2.0]),
    "torch gradient": lambda: torch.tensor([1.0, 2.0], requires_grad=True),
    "torch gradient of 2 axes": lambda: torch.ones(2, 3, requires_grad=True),
    "torch meta": lambda: torch.empty(2, 3, device="meta"),
    "torch sparse": lambda: torch.eye(3).to_sparse(),
    "torch sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "torch quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
    "torch float8": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "torch uint16": lambda: torch.ones(3, dtype=torch.uint16),
    "torch nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(1)]),
    "strict": lambda: array_api_strict.asarray([1.0, 2.0]),
    "dask": lambda: da.ones((2, 3), chunks=(1, 2)),
    "dask of unknown length": lambda: (lambda x: x[x > 0])(da.ones(3, chunks=2)),
}
THINGS = {
    **{repr(v)[:30]: lambda v=v: v for v in (
        None, True, False, 0, 1, -1, 2, 3, 1000, HUGE, 2**63, -(2**63) - 1, 10**400, 0.0, -0.0, 0.5,
        1.0, 2.5, -1.5, 1e308, 5e-324, float("nan"), float("inf"), -float("inf"), 1j, "", "mean",
        "x", b"x", (), (0,), (0, 0), (-1, 0), (0, 7), (0.5,), ("a",), frozenset({1}), range(3), ...,
        slice(1), int, np.float64, torch.float32, np, fractions.Fraction(1, 3),
        decimal.Decimal("0.5"),
    )},
    "dict": lambda: {1: 2},
    "[]": list,
    "[[]]": lambda: [[]],
    "list": lambda: [1.0, 2.0],
    "list of int": lambda: [0, 1],
    "ragged list": lambda: [[1.0], [1.0, 2.0]],
    "list of lists": lambda: [[1.0, 2.0], [3.0, 4.0]],
    "list of words": lambda: ["a", "b"],
    "list of None": lambda: [None, 1.0],
    "list of nan": lambda: [float("nan")],
    "list of long integers": lambda: [10**30],
    "list of arrays": lambda: [np.ones(2), np.ones(3)],
    "list of tensors": lambda: [torch.ones(2), torch.ones(2)],
    "list of 40 axes": lambda: eval("[" * 40 + "1.0" + "]" * 40),
    "generator": lambda: (v for v in [1.0]),
    "function": lambda: lambda *args, **options: None,
    "object": object,
}  # fmt: skip
ANYTHING = ARRAYS | THINGS


@st.composite
def calls(draw, name):
    """Arguments by name, and for those that were replaced the word in ANYTHING."""
    fitting, asked = Fitting(draw, name), parameters(name)
    proof = fitting.home == "symbolic"  # has a test of its own with arguments that fit
    wrong = draw(st.lists(one(*(p.name for p in asked)), min_size=proof, max_size=2, unique=True))
    call, words = {}, {}
    for p in asked:
        if p.name in wrong and p.name != "self":
            words[p.name] = word = draw(one(*ANYTHING))
            call[p.name] = quietly(ANYTHING[word])
            if isinstance(call[p.name], int) and (
                p.name in PATIENT or (proof and call[p.name] > 3)
            ):
                call[p.name] = -1
        elif p.default is p.empty or p.name in ALWAYS or (draw(st.booleans()) and has(p.name)):
            call[p.name] = fitting[p.name]
    return call, words


ALWAYS = {"axis", "base_url", "download_if_missing", "max_examples", "progress", "epochs"}


def has(name):
    return name in USUAL


# --- what may come of it


class TooLongError(BaseException):
    """Not an Exception: nothing may catch it on the way."""


@contextlib.contextmanager
def limited():
    def ring(signum, frame):
        raise TooLongError(f"no end after {CPU_LIMIT} s of computing")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def called(name, call):
    given = [p for p in parameters(name) if p.name in call]
    first = [
        p for p in given if p.name == "self" or p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)
    ]
    args = [call[p.name] for p in first]
    options = {p.name: call[p.name] for p in given if p not in first}
    silent = np.errstate(all="ignore") if name in PLAIN else np.errstate()
    with limited(), silent:
        result = PUBLIC[name](*args, **options)
        if inspect.isgenerator(result):
            result = list(result)
        return dask.compute(result, scheduler="sync")[0] if isinstance(result, da.Array) else result


def bits(value):
    """What must not change of an argument, in a form that can be compared."""
    if isinstance(value, type):
        return None
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_nested:
            return None
        return str(value.dtype), quietly(
            lambda: value.detach().clone().view(-1).tolist().__repr__()
        )
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype, value.shape, value.tobytes() if value.dtype != object else repr(value)
    if isinstance(value, list | tuple):
        return [bits(v) for v in value]
    return repr(value) if is_array_api_obj(value) or isinstance(value, dict) else None


def tells(error, name, call, words):
    """Whether the message names an argument that was replaced, or shows what was given for it."""
    text = str(error)
    if any(re.search(rf"\b{replaced}\b", text) for replaced in words):
        return True
    related = any(re.search(rf"\b{p.name}\b", text) for p in parameters(name) if p.name in call)
    if "from one library" in text or "on one device" in text:
        return len(call) > 1
    for name in words:
        value = call[name]
        shown = {type(value).__name__, repr(value)[:20], str(value)[:20]}
        objects = isinstance(value, np.ndarray) and value.dtype.hasobject
        parts = [value, *value.ravel()] if objects else value
        for part in parts if objects or isinstance(value, list | tuple) else [value]:
            shown |= {type(part).__name__, repr(part)[:20]}
            if is_array_api_obj(part) and not isinstance(part, type):
                with contextlib.suppress(RuntimeError):  # a nested tensor has no shape
                    shown |= {str(part.dtype), str(tuple(part.shape))}
        if related:  # another argument that does not fit to the shape of this one
            with contextlib.suppress(ValueError, TypeError, RuntimeError):
                shape = shape_of(value)
                shown |= {str(shape), *map(str, shape), *(str(n - 1) for n in shape)}
        if any(re.search(rf"(?<!\w){re.escape(word)}", text) for word in shown if word):
            return True
        if re.search(r"\baxis -?\d+ is out|[Dd]imension out|integer is required", text):
            return True  # the library's own, of an axis that is not there
        if getattr(value, "requires_grad", False) and "autograd" in text:
            return True
        if isinstance(value, np.ma.MaskedArray | np.matrix) and re.search("masked|matrix", text):
            return True
    return False


def judge(name, call, words):
    """Call the function, say what is not as it should be, and tell whether it refused."""
    # What is given as out is there to be changed.
    before = {p: bits(value) for p, value in call.items() if p != "out"}
    refused = True
    try:
        result = called(name, call)
    except (TypeError, ValueError, IndexError) as error:
        if not words or not tells(error, name, call, words):
            raise AssertionError(f"what was wrong? {error!r}") from error
    except MAY_ALSO.get(name.partition(".")[0], ()):
        pass
    except MemoryError:
        assert any(isinstance(value, int) and value >= HUGE for value in call.values())
    else:
        refused = False
        EXPECTED.get(name, lambda *_: None)(result, call, words)
    assert {p: bits(call[p]) for p in before} == before
    return refused


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder where a wrong path does no harm."""
    threads = fast.get_num_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOFTMAX_NOTES_DATA", str(tmp_path))
    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()
    fast.set_num_threads(threads)


# --- laws


@pytest.mark.parametrize("name", NAMES)
def test_any_call_gives_what_is_right_or_says_what_is_wrong(name):
    examples = max(1, EXAMPLES // 3) if name.startswith(COSTLY) else EXAMPLES

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(calls(name))
    def law(drawn):
        note(f"{name} with {drawn[1] or 'arguments that fit'}")
        judge(name, *drawn)

    law()


CORE = [
    "definition.softmax", "definition.log_softmax", "definition.logsumexp",
    "cross_entropy.cross_entropy", "cross_entropy.cross_entropy_grad",
    "jacobian.softmax_jacobian", "jacobian.softmax_jvp", "jacobian.softmax_vjp",
]  # fmt: skip


NO_NUMBERS = {
    "numpy masked", "numpy matrix", "numpy complex64", "numpy complex128", "numpy object",
    "numpy U3", "numpy datetime64[s]", "numpy structured", "numpy date", "numpy word",
}  # fmt: skip
assert ANYTHING.keys() >= NO_NUMBERS


def boolean(value):
    given = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    return str(given).endswith("bool")


@pytest.mark.parametrize("name", CORE)
def test_anything_in_place_of_one_argument_is_right_or_said_to_be_wrong(name):
    x = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 0.0]])
    fitting = dict.fromkeys(["x", "p", "v", "g", "logits"], x) | {"target": np.array([0, 2])}
    asked = parameters(name)
    needed = {p.name: fitting[p.name] for p in asked if p.default is p.empty}
    arrays = fitting.keys() | {"b", "weight"}
    wrong = []
    for p in asked:
        for word, make in ANYTHING.items():
            try:
                value = quietly(make)
                refused = judge(name, needed | {p.name: value}, {p.name: word})
                if not refused:
                    assert p.name not in arrays or word not in NO_NUMBERS, "accepted"
                    assert p.name != "where" or value is None or boolean(value), "accepted"
            except Exception as error:
                wrong.append(f"{p.name} = {word}: {error!r}")
    assert wrong == []


def test_nothing_public_is_left_out_but_what_takes_no_argument_or_needs_processes():
    assert PUBLIC.keys() > LEFT_OUT
    wanted = {p.name for name in NAMES for p in parameters(name) if p.default is p.empty}
    fitting = USUAL.keys() | {p for made in SPECIAL.values() for p in made} | {"args"}
    assert wanted - fitting == set(), "add a value that fits to USUAL"


def test_formulas_that_may_overflow_with_a_warning_say_so():
    for name in PLAIN:
        said = " ".join(PUBLIC[name].__doc__.split())
        assert "overflows as in the library, NumPy with its warning" in said


# --- references


def shape_of(value):
    if isinstance(value, da.Array):  # its lengths may not be known before
        value = value.compute(scheduler="sync")
    return tuple(value.shape) if is_array_api_obj(value) else np.shape(value)


def first_of(call):
    return next(iter(call.values()))


def check_dtype(result, x):
    """The dtype of x; of integers and numbers the default of the library."""
    given = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    dtype = str(given).rpartition(".")[2].lstrip("<>")
    dtype = {"f4": "float32", "f8": "float64"}.get(dtype, dtype)
    if "float" not in dtype:
        dtype = "float32" if isinstance(x, torch.Tensor) else "float64"
    assert str(result.dtype).rpartition(".")[2] == dtype


def like_x(result, call, words):
    """As many numbers as x has."""
    x = first_of(call)
    assert shape_of(result) == shape_of(x)
    check_dtype(result, x)


def chosen(call, default=-1):
    axis = call.get("axis", default)
    ndim = len(shape_of(first_of(call)))
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(int(a) % ndim for a in axes)


def without_axis(result, call, words, default=-1):
    shape, axes = shape_of(first_of(call)), chosen(call, default)
    kept = [1 if i in axes else size for i, size in enumerate(shape)]
    if not call.get("keepdims"):
        kept = [size for i, size in enumerate(shape) if i not in axes]
    assert shape_of(result) == tuple(kept)
    check_dtype(result, first_of(call))


def double(value):
    if isinstance(value, torch.Tensor):  # NumPy has no 8 bits
        return value.detach().double()
    values = to_numpy(value) if is_array_api_obj(value) else np.asarray(value)
    return torch.tensor(np.array(values, dtype=np.float64))


def plain(call):
    """x in float64, what is excluded at -inf, and the axes; None where a slice has no maximum."""
    if getattr(first_of(call), "is_meta", False):  # a shape without values
        return None, chosen(call)
    x, axes = double(first_of(call)), chosen(call)
    if call.get("where") is not None:
        x = torch.where(torch.broadcast_to(double(call["where"]) > 0, x.shape), x, -torch.inf)
    if not axes or 0 in x.shape or not torch.isfinite(x.amax(axes)).all():
        return None, axes
    return x, axes


def tolerance(result):
    digits = {"float64": 1e-12, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
    return digits.get(str(result.dtype).rpartition(".")[2], 1)


def close(result, expected):
    limit = tolerance(result)
    found = double(result)
    torch.testing.assert_close(found, expected, rtol=limit, atol=limit, equal_nan=True)


def is_softmax(result, call, words):
    like_x(result, call, words)
    x, axes = plain(call)
    if x is not None:
        close(result, torch.exp(x - torch.logsumexp(x, axes, keepdim=True)))


def is_log_softmax(result, call, words):
    like_x(result, call, words)
    x, axes = plain(call)
    if x is not None and (x.abs() < 1e4).all():
        close(result, x - torch.logsumexp(x, axes, keepdim=True))


def is_logsumexp(result, call, words):
    if "b" in call or "return_sign" in call:
        return
    call = call | {"axis": call.get("axis")}
    without_axis(result, call, words)
    x, axes = plain(call)
    if x is not None and (x.abs() < 1e4).all():
        close(result, torch.logsumexp(x, axes, keepdim=bool(call.get("keepdims"))))


def is_cross_entropy(result, call, words):
    reduction = call.get("reduction", "mean")
    if words.keys() & {"logits", "target", "axis"}:
        return
    x, target = double(call["logits"]), double(call["target"]).long()
    weight = None if call.get("weight") is None else double(call["weight"])
    ignore = call.get("ignore_index")
    expected = torch.nn.functional.cross_entropy(
        x, target, weight, ignore_index=-100 if ignore is None else int(ignore),
        reduction=reduction, label_smoothing=float(call.get("label_smoothing", 0.0)),
    )  # fmt: skip
    close(result, expected)
    check_dtype(result, call["logits"])


def is_proved(result, call, words):
    assert not np.any(np.array(result, dtype=object))


# Not 0 for what is no tree, and for the wrong sign.
UNPROVED = {f"symbolic.vocabulary.{of}_residual" for of in ("leaves", "sampled_denominator")}
EVERYWHERE = ("definition", "out_of_core", "fast", "parallel")
EXPECTED = {
    **dict.fromkeys(
        [f"alternatives.{rule}" for rule in (
            "entmax15", "softplus_shares", "sparsemax", "spherical_softmax", "squareplus_shares",
            "taylor_softmax",
        )]
        + ["sampled_softmax.log_sigmoid", "sampling.gumbel_noise", "smooth_argmax.smooth_argmax",
           "choice.matching_law", "exp_approximation.minimax_exp", "exp_approximation.taylor_exp",
           "jacobian.softmax_jvp", "jacobian.softmax_vjp"],
        like_x,
    ),
    **dict.fromkeys(
        ["exponential.entropy", "smooth_max.negative_entropy", "weighted_mean.boltzmann_mean",
         "weighted_mean.mellowmax", "smooth_argmax.soft_position"],
        without_axis,
    ),
    "smooth_max.smooth_max": lambda *given: without_axis(*given, None),
    **{f"{home}.softmax": is_softmax for home in EVERYWHERE},
    **{f"{home}.log_softmax": is_log_softmax for home in EVERYWHERE},
    **{f"{home}.logsumexp": is_logsumexp for home in EVERYWHERE},
    **{
        f"{home}.cross_entropy": is_cross_entropy
        for home in ("cross_entropy", "out_of_core", "fast", "parallel")
    },
    **{name: is_proved for name in NAMES if name.endswith("_residual") and name not in UNPROVED},
}  # fmt: skip


# --- edges


NARROW = np.zeros((2, 3), dtype=np.float32)
# What the law above has found wrong, in short: a call, its error, and words of it.
FOUND = [
    (lambda: softmax_notes.softmax(np.float64), TypeError, "got type"),
    (lambda: softmax_notes.logsumexp(NARROW, keepdims=np.ones(2)), TypeError, "keepdims"),
    (
        lambda: softmax_notes.cross_entropy(NARROW, [0, 1], weight=[1e300, 1, 1]),
        ValueError,
        "weight must hold finite numbers",
    ),
    (
        lambda: softmax_notes.cross_entropy(NARROW, [0, 1], ignore_index=np.zeros(2)),
        TypeError,
        "ignore_index must be an integer",
    ),
    (
        lambda: softmax_notes.softmax_jvp(torch.ones(2, 3), torch.ones(2, 3, device="meta")),
        ValueError,
        "on one device, got cpu, meta",
    ),
    (lambda: alternatives.counterexample(lambda x: None, "odds"), ValueError, "rule must keep"),
    (lambda: softmax_notes.softmax((lambda x: x[x > 0])(da.ones(3))), ValueError, "shape of x"),
    (lambda: streaming.summarize((lambda x: x[x > 0])(da.ones(3))), ValueError, "shape of x"),
    (
        lambda: sampled_softmax.nce_loss([[1.0]], [[1.0]], 0, [0], [0.0]),
        ValueError,
        "X, W and target must have the shapes",
    ),
    (lambda: huffman.huffman_tree([[1], [1, 2]]), TypeError, "counts must be"),
    (lambda: sampling.inverse_cdf(torch.tensor(0.0), 0.5), ValueError, "axis -1 is out of range"),
    (
        lambda: choice.nested_logit([0.0] * 2, [[0], [1]], dissimilarity="x"),
        ValueError,
        "dissimilarity must be",
    ),
    (lambda: choice.luce_witness([0.5]), TypeError, "table must map"),
    (lambda: choice.nested_logit([1.0, 2.0], (0, 0)), TypeError, "nests must be lists"),
    (lambda: streaming.log_total((0,)), TypeError, "state must be a State"),
    (lambda: streaming.loss((0,)), TypeError, "seen must be a Loss"),
    (lambda: streaming.identity((2,), like=NARROW, width=-1), ValueError, "width"),
    (lambda: overflow.thresholds("float32"), TypeError, "finfo must be"),
    (lambda: overflow.softmax_bound([1.0], unit=2.0), ValueError, "unit"),
    (lambda: overflow.running_sum(1.0), ValueError, "x needs at least one axis"),
    (lambda: sampled_softmax.Proposal.uniform(0), ValueError, "n must be at least 1"),
    (lambda: sampled_softmax.Proposal([1.0]).sample(-1, np.random), TypeError, "rng must be"),
    (
        lambda: sampled_softmax.Proposal([1.0]).sample(-1, np.random.default_rng()),
        ValueError,
        "size must be",
    ),
    (lambda: sampling.inverse_cdf(NARROW, [0.5] * 3), ValueError, "do not broadcast"),
    (lambda: sampling.gumbel_max(NARROW, torch.ones(2)), TypeError, "from one library"),
    (lambda: regression.minibatches(2, 1, np.random), TypeError, "rng must be"),
    (lambda: regression.minibatches(-1, 1, np.random.default_rng()), ValueError, "n must be"),
    (lambda: regression.train_by_hand([1]), TypeError, "dataset must be a Dataset"),
    (lambda: regression.evaluate_accuracy(len, [1]), TypeError, "batches must hold pairs"),
    (lambda: regression.Accumulator(1).add([]), TypeError, "values must be numbers"),
    (lambda: vocabulary.hierarchical_log_softmax([[1.0]], [[1.0]], 3), TypeError, "tree must be"),
    (lambda: vocabulary.adaptive_log_softmax([[1.0]], [[1.0]], 3), TypeError, "tails must hold"),
    (lambda: figures.simplex_axes(NARROW), TypeError, "ax must be Matplotlib's Axes"),
    (
        lambda: linear_cross_entropy.linear_cross_entropy(
            torch.ones(2, 3),
            torch.ones(4, 3),
            torch.tensor([0, 1]),
            weight=quietly(ARRAYS["torch nested"]),
        ),
        TypeError,
        "weight must be a dense tensor",
    ),
    (lambda: figures.to_simplex([-np.inf] * 3), ValueError, "p must hold finite"),
    (lambda: regression.Accumulator(2**63), ValueError, "n must be a number of sums"),
    (lambda: sampled_softmax.Proposal.uniform(2**63), ValueError, "n must be a length"),
    (lambda: sampled_softmax.Proposal.log_uniform(2**63), ValueError, "n must be a length"),
    (lambda: overflow.running_sum((lambda x: x[x > 0])(da.ones(3))), ValueError, "got (nan,)"),
    (lambda: sampling.gumbel_noise((lambda x: x[x > 0])(da.ones(3))), ValueError, "got (nan,)"),
    (lambda: figures.to_simplex(["a"] * 3), TypeError, "p must hold real numbers"),
    (lambda: fast.softmax(NARROW, axis=np.ones(2)), TypeError, "axis must be an integer"),
    (lambda: fast.CrossEntropyLoss(NARROW), TypeError, "weight must be a torch.Tensor"),
    (
        lambda: softmax_notes.cross_entropy(NARROW, [0, 1], ignore_index=10**30),
        ValueError,
        "ignore_index must be a number of 64 bits",
    ),
    (
        lambda: linear_cross_entropy.linear_cross_entropy(
            torch.ones(2, 3), torch.ones(4, 3), torch.tensor([0, 1]), ignore_index=10**30
        ),
        ValueError,
        "ignore_index must be a number of 64 bits",
    ),
    (lambda: regression.Accumulator(1).add(10**400), ValueError, "that a float can hold"),
    (
        lambda: sampled_softmax.Proposal.unigram([1j, 2j]),
        TypeError,
        "counts must hold real numbers",
    ),
    (
        lambda: sampled_softmax.Proposal([1.0]).sample(2**63, np.random.default_rng()),
        ValueError,
        "is too large",
    ),
    (lambda: streaming.fold([]), ValueError, "chunks must hold at least one"),
    (lambda: streaming.fold(np.array(1.0)), TypeError, "chunks must be arrays"),
    (lambda: check.softmax(len, timeout=float("nan")), ValueError, "timeout must be"),
    (lambda: check.softmax(len, max_examples="1"), TypeError, "max_examples must be an integer"),
]


@pytest.mark.parametrize(("call", "error", "words"), FOUND, ids=[words for *_, words in FOUND])
def test_what_was_found_is_said_in_words(call, error, words):
    with pytest.raises(error, match=re.escape(words)):
        call()


def test_a_score_that_a_state_has_not_seen_has_no_probability():
    state = streaming.summarize(np.array([0.0, 1.0]))
    chunk = np.array([1.0, 800.0])  # e^799 is past the largest number
    np.testing.assert_array_equal(np.isnan(streaming.softmax_of(chunk, state)), [False, True])
    np.testing.assert_array_equal(np.isnan(streaming.log_softmax_of(chunk, state)), [False, True])


def test_a_state_of_fewer_bits_than_the_scores_is_brought_to_theirs():
    state = streaming.summarize(np.array([0.0, 3.0], dtype=np.float32))
    log_p = streaming.log_softmax_of(np.array([3.0, -1e300]), state)
    np.testing.assert_allclose(log_p, [-np.log1p(np.exp(-3.0)), -1e300], rtol=1e-7)


@pytest.mark.parametrize(
    ("b", "log_abs", "sign"),
    [
        ([np.inf, 1.0], np.inf, 1),
        ([1.0, -np.inf], np.inf, -1),
        ([np.inf, -np.inf], np.nan, np.nan),
        ([[np.inf, 1.0], [1.0, 1.0]], [np.inf, np.log(1 + np.e)], [1, 1]),
    ],
)
def test_an_infinite_factor_makes_the_sum_infinite_with_its_sign(b, log_abs, sign):
    result = softmax_notes.logsumexp([0.0, 1.0], axis=-1, b=b, return_sign=True)
    np.testing.assert_allclose(result, [log_abs, sign], rtol=1e-15)


def test_infinity_times_zero_is_no_number():
    assert np.isnan(softmax_notes.logsumexp([-np.inf, 0.0], b=[np.inf, 1.0]))


def test_an_argument_past_the_largest_number_of_the_dtype_is_infinite_without_a_warning():
    p = np.array([0.5, 0.5], dtype=np.float32)
    with np.errstate(invalid="ignore"):  # the product itself is inf - inf
        assert np.isnan(softmax_notes.softmax_jvp(p, np.array([1e300, 0.0]))).all()
    total = softmax_notes.logsumexp(p, b=np.array([1e300, 1.0]))
    assert not np.isfinite(total)
