"""From a failure to its likely cause.

Numbers are compared with those of every known fault, on the arguments that failed and on a few
more; exceptions, types and shapes speak for themselves.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from softmax_notes.check._subject import LOSSES, PRODUCTS, SCORES, Arg, Broken, Call, Subject, shown
from softmax_notes.check._suspects import NO_SHIFT, Suspect, suspects_of


class Cause(NamedTuple):
    """A cause in words, and its short name."""

    name: str
    words: str


def diagnosed(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    """Find the likely cause of a failure."""
    if broken.sort == "exception":
        return _of_exception(broken)
    if broken.sort in _OF_SORT:
        return _OF_SORT[broken.sort](f, broken, calls)
    if any(not np.all(np.isfinite(np.asarray(a.values))) for call in calls for a in call.args):
        return _of_special_values(f, broken, calls)
    evidence = list(_of_calls(f, calls))
    if broken.sort == "digits":
        short = any(a.dtype in ("float16", "bfloat16") for call in calls for a in call.args)
        if short and not all(np.all(np.isfinite(e.got)) for e in evidence):
            return SIXTEEN  # a sum that overflows, or a difference
        if all(e.right(1e4) for e in evidence):
            return _of_digits(f, calls)
    deepest = max((e.args[0].ndim for e in evidence), default=2)
    evidence += _of_probes(f, any(_is_large(e) for e in evidence), deepest)
    wrong = [e for e in evidence if not e.right()]
    if not wrong:  # within the tolerance of the comparison: digits are missing
        return _of_digits(f, calls)
    for suspect in suspects_of(f.kind):
        if all(e.fits(suspect) for e in evidence) and any(e.tells(suspect) for e in wrong):
            return Cause(suspect.name, suspect.words + _threshold(f, suspect.name, calls))
    return _by_looks(f, wrong, calls)


class Evidence(NamedTuple):
    """One call: what it was given, what it gave, and the truth."""

    args: tuple[Any, ...]
    options: dict[str, Any]
    got: Any
    truth: Any
    unit: float

    def right(self, units: float = 64.0) -> bool:
        loose = min(units * self.unit, 1e-2) if units > 64 else 0.0
        return self._near(self.truth, 64 * self.unit, loose)

    def fits(self, suspect: Suspect) -> bool:
        """Tell whether the fault gives these numbers, much more nearly than the truth does."""
        said = self.said(suspect)
        if said is None:
            return self.right()
        if said.shape != self.got.shape:
            return False
        both = np.isfinite(self.got) & np.isfinite(self.truth)
        gap = float(np.max(np.abs(self.got - self.truth)[both], initial=0))
        return self._near(said, 64 * self.unit, 0.02 * gap)

    def tells(self, suspect: Suspect) -> bool:
        return self.said(suspect) is not None

    def said(self, suspect: Suspect) -> Any:
        options = {k: v for k, v in self.options.items() if k in ("axis", "reduction")}
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                said = suspect.simulate(*self.args, **options)
            except (ValueError, IndexError, TypeError, OverflowError):
                return None
        return None if said is None else np.asarray(said, np.float64)

    def _near(self, said: Any, rtol: float, atol: float = 0.0) -> bool:
        scale = float(np.max(np.abs(said[np.isfinite(said)]), initial=0))
        return bool(np.allclose(self.got, said, rtol, atol + rtol * scale / 16, equal_nan=True))


def _is_large(e: Evidence) -> bool:
    """Tell whether overflow may be at work, so that it is worth looking for."""
    x = e.args[0]
    return not np.all(np.isfinite(e.got)) or bool(np.max(np.abs(x), initial=0) > 50)


def _of_calls(f: Subject, calls: list[Call]) -> Iterator[Evidence]:
    for call in calls:
        if call.result is None:
            continue
        values = tuple(np.asarray(a.values) for a in call.args)
        got = np.asarray(call.result, np.float64)
        with np.errstate(all="ignore"):
            try:
                truth = np.asarray(f.exact(*call.args, **call.options), np.float64)
            except (ValueError, TypeError, ZeroDivisionError, OverflowError):
                truth = np.full(got.shape, np.nan)  # no number: NaN or infinities are involved
        if got.shape == truth.shape:
            yield Evidence(values, call.options, got, truth, f.unit(*call.args))


# Numbers without a pattern, in oblong tables, so that no two faults look alike.
_VECTOR = np.array([0.5, -1.25, 2.0])
_TABLE = np.array([[0.25, -1.0, 2.0], [1.5, 0.0, -0.75]])
_SHARES = np.array([0.125, 0.25, 0.625])
_TABLE_OF_SHARES = np.array([[0.125, 0.25, 0.625], [0.5, 0.4375, 0.0625]])
_LARGE = (
    [400.0, 399.0],
    [-400.0, -399.5],
    [1000.0, 999.0],
    [-900.0, -901.0],
    [[0.0, 0.5], [900.0, 901.0]],
)


def _probes(f: Subject, large: bool) -> list[tuple[Any, ...]]:
    if f.kind in SCORES:
        return [(_VECTOR,), (_TABLE,), *[(np.array(x),) for x in _LARGE if large]]
    if f.kind in LOSSES:
        far = (
            [
                (np.array([[0.0, -2000.0]]), np.array([1])),
                (np.array([[1000.0, 999.0]]), np.array([1])),
            ]
            if large
            else []
        )
        return [(_TABLE, np.array([2, 1])), *far]
    if f.kind == "softmax_jacobian":
        return [(_SHARES,), (_TABLE_OF_SHARES,)]
    return [(_SHARES, _VECTOR), (_TABLE_OF_SHARES, _TABLE)]


def _of_probes(f: Subject, large: bool, ndim: int) -> list[Evidence]:
    """Call the function a few more times; what fails in another way is no evidence."""
    found: list[Evidence] = []
    before = list(f.calls)
    for args in _probes(f, large):
        if args[0].ndim > ndim:
            continue  # written for vectors, perhaps
        f.calls.clear()
        with contextlib.suppress(Broken):
            f(*args)
            found += _of_calls(f, f.calls)
    f.calls[:] = before
    return found


def _threshold(f: Subject, name: str, calls: list[Call]) -> str:
    """Say from where on a function of scores overflows, by trying."""
    if name not in ("no-shift", "shift-added", "shift-min", "shift-mean", "chained-nan"):
        return ""
    call = calls[-1]
    dtype = call.args[0].dtype

    def fails(size: int) -> bool:
        x = np.array([float(size), 0.0])
        x = x.astype(dtype if dtype in ("float16", "float32") else "float64")
        given = (Arg(x, dtype),) if f.kind in SCORES else (Arg(x[None], dtype), np.array([0]))
        try:
            return not bool(np.all(np.isfinite(f(*given))))
        except Broken:
            return True

    before = list(f.calls)
    low, high = 0, 4096
    if fails(low) or not fails(high):
        f.calls[:] = before
        return ""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    f.calls[:] = before
    return f" (scores overflow from {high} on in {dtype})"


def _by_looks(f: Subject, wrong: list[Evidence], calls: list[Call]) -> Cause:
    """Describe numbers that no known fault gives."""
    if _changes(f, calls):
        return Cause(
            "not-repeatable",
            "the same arguments give another result at every call: "
            "something random, or kept from one call to the next, takes part",
        )
    e = wrong[0]
    if not np.all(np.isfinite(e.got)) and np.all(np.isfinite(e.truth)):
        if any(c.args[0].dtype in ("float16", "bfloat16") for c in calls):
            return SIXTEEN
        if said := _threshold(f, "no-shift", calls):
            return Cause("no-shift", f"overflow: {NO_SHIFT}{said}")
        return Cause("not-finite", "NaN or infinity where the true result is a finite number")
    both = [
        (e.got, e.truth)
        for e in wrong
        if np.all(np.isfinite(e.got)) and np.all(np.isfinite(e.truth))
    ]
    got, truth = (
        np.concatenate([np.empty(0), *[np.ravel(pair[side]) for pair in both]]) for side in (0, 1)
    )
    used = np.abs(truth) > 1e-9
    if used.sum() > 2:
        ratio = got[used] / truth[used]
        if np.ptp(ratio) < 1e-6 * abs(ratio[0]) and abs(ratio[0] - 1) > 1e-6:
            return Cause("factor", f"every result is {ratio[0]:.6g} times what it should be")
        gap = (got - truth)[used]
        if np.ptp(gap) < 1e-6 * abs(gap[0]):
            return Cause("offset", f"every result is off by {gap[0]:.6g}")
    if f.kind == "softmax":
        if (scale := _scale(wrong)) is not None:
            return Cause("temperature", f"the scores are multiplied by {scale:.6g}")
        sums = e.got.sum(axis=e.options.get("axis", -1))
        if np.any(np.abs(sums - 1) > 1e-6):
            return Cause("unknown", f"sums of {shown(sums)} along the axis, and no known fault")
    return Cause("unknown", "no known fault gives these numbers")


def _changes(f: Subject, calls: list[Call]) -> bool:
    """Call again with the same arguments, and compare."""
    call, before = calls[-1], list(f.calls)
    try:
        return not np.array_equal(f(*call.args, **call.options), call.result, equal_nan=True)
    except Broken:
        return True
    finally:
        f.calls[:] = before


def _scale(wrong: list[Evidence]) -> float | None:
    """Find the one factor by which differences of scores are off, if there is one."""
    factors = []
    for e in wrong:
        x, axis = e.args[0], e.options.get("axis", -1)
        if axis is None or not np.all(np.isfinite(e.got)) or np.any(e.got <= 1e-12):
            continue
        x, log_p = np.moveaxis(x, axis, -1), np.log(np.moveaxis(e.got, axis, -1))
        dx, dp = x - x[..., :1], log_p - log_p[..., :1]
        factors += list((dp / np.where(dx == 0, np.inf, dx))[dx != 0])
    if len(factors) > 2 and np.ptp(factors) < 1e-6 * abs(factors[0]):
        return float(factors[0]) if abs(factors[0] - 1) > 1e-6 else None
    return None


_CANCELS = {
    "log_softmax": "no-log1p",
    "logsumexp": "no-log1p",
    "cross_entropy": "no-log1p",
    "cross_entropy_grad": "no-expm1",
    "softmax_jacobian": "corner",
    "softmax_jvp": "cancellation",
    "softmax_vjp": "cancellation",
}
SIXTEEN = Cause("low-precision", "computed in 16 bits: compute in float32 and round once")


def _of_digits(f: Subject, calls: list[Call]) -> Cause:
    """Name what costs digits: short formats, cancellation, or long sums."""
    call = next((c for c in reversed(calls) if c.result is not None), None)
    if call is not None:
        truth = np.ravel(np.asarray(f.exact(*call.args, **call.options), np.float64))
        error = np.abs(np.ravel(call.result) - truth) / np.maximum(np.abs(truth), 1e-300)
        small = abs(truth[np.argmax(error)]) < (0.5 if f.kind == "logsumexp" else 1e-3)
        if (f.kind in _CANCELS and small) or f.kind in PRODUCTS:
            name = _CANCELS[f.kind]
            return Cause(name, next(s.words for s in suspects_of(f.kind) if s.name == name))
        if call.args[0].dtype in ("float16", "bfloat16"):
            return SIXTEEN
        if call.args[0].values.dtype.kind in "iub":
            return Cause(
                "integer-precision",
                "integers are computed in 16 bits: convert them to "
                "the default floating dtype first",
            )
        if np.size(call.args[0].values) > 1000:
            return Cause(
                "long-sum",
                "rounding errors add up along the row: sum in pairs, or carry the errors along",
            )
    return Cause(
        "rounding",
        "digits are lost: carry the rounding error of x − max along, and sum without losing digits",
    )


_HIDES = ("uniform-when-empty", "nan-hidden", "clipped", "eps-added", "clipped-scores")


def _of_special_values(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    """Explain a failure beside infinities and NaN, where the true result may be no number."""
    call = next((c for c in calls if c.result is not None), None)
    if call is None:
        return Cause("special-values", "infinities and NaN are not looked after")
    got = np.asarray(call.result, np.float64)
    values = tuple(np.asarray(a.values) for a in call.args)
    e = Evidence(values, call.options, got, got, f.unit(*call.args))
    if np.any(np.isnan(got)) and "nan" not in broken.expected:
        return Cause(
            "infinity-minus-infinity",
            "∞ − ∞ is NaN: where the maximum is infinite, shift by 0, or use where",
        )
    known = [suspect for suspect in suspects_of(f.kind) if suspect.name in _HIDES]
    for suspect in sorted(known, key=lambda s: _HIDES.index(s.name)):
        said = e.said(suspect)
        if said is not None and np.array_equal(said, got, equal_nan=True):
            return Cause(suspect.name, suspect.words)
    return Cause(
        "special-values",
        "infinities and NaN are not looked after: a row without a "
        "softmax should be NaN, and no other row",
    )


def _of_accepted(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    if calls and calls[-1].args[0].layout == "masked":
        return Cause("mask-dropped", "the mask is dropped without a word: refuse masked arrays")
    if f.kind in LOSSES:
        return Cause("target-unchecked", "a target that is no class is taken without a word")
    return Cause("axis-unchecked", "an axis that does not exist is taken without a word")


def _of_flushed(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    """Tell a library that has no subnormal numbers from a formula that loses small ones."""
    small = Cause(
        "flushed",
        "results below the smallest normal number become 0: the library flushes subnormal numbers",
    )
    if f.kind == "softmax":
        return small
    x = np.array([20.0, 0.0], np.float32)
    args = (Arg(x),) if f.kind == "log_softmax" else (Arg(x[None]), Arg(np.array([0])))
    before = list(f.calls)
    try:
        lost = bool(np.any(f(*args) == 0))
    except Broken:
        lost = False
    f.calls[:] = before
    return _of_digits(f, calls) if lost else small


def _of_memory(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    return Cause("matrix", "the whole matrix is formed: p ⊙ (v − pᵀv) needs vectors only")


# --- what is wrong before any number is looked at


def _of_time(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    return Cause(
        "endless",
        "the call does not come to its end: look for a loop whose condition never changes",
    )


def _of_type(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    kind = broken.got.split(":")[0]
    if kind == "NoneType":
        return Cause(
            "no-return",
            "nothing is returned: a return statement is missing, or it is "
            "inside a branch that was not taken",
        )
    if kind in ("list", "tuple", "generator", "map", "zip", "dict", "str", "set"):
        return Cause("no-array", f"a {kind} is returned: make it an array")
    if kind in ("float", "int"):
        return Cause("reduced", "one number is returned for a whole array")
    return Cause(
        "other-library",
        f"a {kind} is returned where {f.library.name} arrays went in: "
        "its device and its gradient are lost",
    )


def _of_shape(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    expected, got = (
        tuple(map(int, re.findall(r"\d+", text))) for text in (broken.expected, broken.got)
    )
    if f.kind == "cross_entropy" and expected == ():
        return Cause("no-reduction", "one loss for each row: the mean over the rows is missing")
    if f.kind == "softmax_jacobian" and got == expected[:-1]:
        return Cause("diagonal-only", "only the diagonal: the Jacobian is a matrix for each vector")
    if len(got) == len(expected) and sorted(got) == sorted(expected):
        return Cause("transposed", "rows and columns are exchanged")
    if 1 in got and tuple(n for n in got if n != 1) == tuple(n for n in expected if n != 1):
        return Cause("keepdims", "an axis of length 1 too many: keepdims was meant for inside only")
    if f.kind == "logsumexp" and got == ():
        return Cause("global", "summed over the whole array at once: give the sum axis=-1")
    if f.kind == "logsumexp" and calls and got == calls[-1].args[0].values.shape[1:]:
        return Cause("wrong-axis", "summed along the wrong axis")
    if len(got) < len(expected):
        return Cause("reduced", f"an axis is gone: shape {got} in place of {expected}")
    return Cause("shape", f"shape {got} in place of {expected}: something was broadcast")


def _of_dtype(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    return Cause(
        "dtype",
        f"{broken.got} where {broken.expected} went in: constants or buffers of "
        "another precision; make them of the argument's dtype",
    )


def _of_changed(f: Subject, broken: Broken, calls: list[Call]) -> Cause:
    return Cause(
        "in-place",
        "the argument itself is written to: x = x − m makes a new array, x -= m does not",
    )


_OF_SORT = {
    "time": _of_time,
    "type": _of_type,
    "shape": _of_shape,
    "dtype": _of_dtype,
    "changed": _of_changed,
    "accepted": _of_accepted,
    "flushed": _of_flushed,
    "memory": _of_memory,
}

_MESSAGES: list[tuple[type[BaseException], str, str, str]] = [
    # a type of error, a pattern in what it says, the short name, the words
    (
        ValueError,
        r"zero-size|empty",
        "empty",
        "the maximum of no numbers: return the empty array, or −∞",
    ),
    (
        UnboundLocalError,
        r"'(\w+)'",
        "shadowed-name",
        "'{0}' is assigned in the function, which makes it a local name there, and it is read "
        "before: call the variable something else",
    ),
    (NameError, r"'(\w+)'", "undefined-name", "the name '{0}' is not defined anywhere"),
    (RecursionError, "", "recursion", "the function calls itself without an end"),
    (
        OverflowError,
        "",
        "no-shift",
        f"math.exp raises where e^x is past the largest number: {NO_SHIFT}",
    ),
    (
        ZeroDivisionError,
        "",
        "zero-division",
        "a sum of exponentials is 0: subtract the maximum first",
    ),
    (
        TypeError,
        r"argument '(?:axis|dim)'",
        "no-axis",
        "there is no argument axis: a function of batches needs one",
    ),
    (
        TypeError,
        r"(missing \d+ required|takes \d+ positional|unexpected keyword)",
        "signature",
        "the arguments are not those of the kind: {0}",
    ),
    (
        Exception,
        r"(?:axis|Dimension|dimension|dim) .*(?:out of|range)|too many indices",
        "fixed-axis",
        "an axis that a vector has not: write axis=-1, which every array has",
    ),
    (
        Exception,
        r"(?:could not be broadcast|must match the size|Incompatible shapes|incompatible shapes)",
        "keepdims",
        "the sum has lost its axis and does not line up: add keepdims=True",
    ),
    (
        Exception,
        r"mismatch in its core dimension|not aligned|mat1 and mat2|input must be 1- or 2-d|"
        r"inconsistent|must be at least|1D tensors",
        "vector-only",
        "written for one vector: a batch needs the products row by row",
    ),
    (
        TypeError,
        r"(?:only|can only).*(?:0-dim|scalar|size-1|length-1|one element)",
        "scalars-only",
        "math.exp and its like take one number: use the array library's own functions",
    ),
    (
        ValueError,
        r"truth value|Boolean value",
        "truth-value",
        "a comparison of arrays is used as one truth value: use where or max",
    ),
    (
        RuntimeError,
        r"Boolean value",
        "truth-value",
        "a comparison of arrays is used as one truth value: use where or max",
    ),
    (
        Exception,
        r"read-only|immutable|item assignment",
        "in-place",
        "it writes into an array that may not be written to",
    ),
]


def _of_exception(broken: Broken) -> Cause:
    error = broken.error
    said = str(error)
    for kind, pattern, name, words in _MESSAGES:
        if isinstance(error, kind) and (match := re.search(pattern, said)):
            return Cause(name, words.format(*match.groups()))
    return Cause("exception", f"it raises {type(error).__name__}")
