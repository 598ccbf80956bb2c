"""The function under examination: how it is called, what it may not do, what is noted down."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from softmax_notes._arrays import number
from softmax_notes.check import _exact
from softmax_notes.check._libraries import Library, library_named
from softmax_notes.check._limit import TooLong, limited

LEVELS = ("textbook", "robust", "production")
ARGUMENTS = {
    "softmax": ("x",),
    "log_softmax": ("x",),
    "logsumexp": ("x",),
    "cross_entropy": ("logits", "target"),
    "cross_entropy_grad": ("logits", "target"),
    "softmax_jacobian": ("p",),
    "softmax_jvp": ("p", "v"),
    "softmax_vjp": ("p", "g"),
}
KINDS = tuple(ARGUMENTS)
SCORES = ("softmax", "log_softmax", "logsumexp")
LOSSES = ("cross_entropy", "cross_entropy_grad")
PRODUCTS = ("softmax_jvp", "softmax_vjp")
# Errors allowed at each level, in units roundoff of the dtype; production is the book's own 8 ULP.
SLACK = {"textbook": 1e7, "robust": 512.0, "production": 16.0}


@dataclass(frozen=True)
class Arg:
    """An array that a check passes: its numbers, and how they are made in the user's library."""

    values: Any  # NumPy; numbers of `dtype`, in a wider one for bfloat16
    dtype: str = ""  # that of the values, where it is not said
    layout: str = "plain"
    expression: str = ""  # NumPy code for values too long to write out

    def __post_init__(self) -> None:
        if not self.dtype:
            object.__setattr__(self, "dtype", str(np.asarray(self.values).dtype))

    def build(self, library: Library) -> Any:
        """Make a fresh array of the library."""
        return self._laid_out(lambda values: library.make(values, self.dtype), library.name)

    def _laid_out(self, make: Callable[[Any], Any], name: str) -> Any:
        values = np.asarray(self.values)
        if self.layout == "masked":
            return np.ma.array(values, mask=np.arange(values.size) == 0)
        if self.layout == "transposed":
            turned = make(np.ascontiguousarray(np.moveaxis(values, -1, 0)))
            return turned.movedim(0, -1) if name == "torch" else np.moveaxis(turned, 0, -1)
        if self.layout == "step":
            return make(np.repeat(values, 2, axis=-1))[..., ::2]
        if self.layout == "reversed":
            return make(values[..., ::-1])[..., ::-1]
        if self.layout == "broadcast":
            row = make(values[:1])
            return (
                row.expand(values.shape) if name == "torch" else np.broadcast_to(row, values.shape)
            )
        return make(values)

    def text(self, library: Library) -> str:
        """Write the array as code that makes it."""
        values = np.asarray(self.values)
        if self.layout == "masked":
            mask = (np.arange(values.size) == 0).tolist()
            return f"np.ma.array({values.tolist()}, mask={mask})"
        if self.layout == "transposed":
            turned = Arg(np.moveaxis(values, -1, 0), self.dtype).text(library)
            if library.name == "torch":
                return f"{turned}.movedim(0, -1)"
            return f"np.moveaxis({turned}, 0, -1)"
        if self.layout == "step":
            return f"{Arg(np.repeat(values, 2, -1), self.dtype).text(library)}[..., ::2]"
        if self.layout == "reversed":
            return f"{Arg(values[..., ::-1], self.dtype).text(library)}[..., ::-1]"
        if self.layout == "broadcast":
            row = Arg(values[:1], self.dtype).text(library)
            if library.name == "torch":
                return f"{row}.expand{tuple(values.shape)}"
            return f"np.broadcast_to({row}, {tuple(values.shape)})"
        return self._plain_text(library)

    def _plain_text(self, library: Library) -> str:
        prefix = library.prefix
        numbers = self.expression or _numbers(np.asarray(self.values).tolist(), prefix)
        make = {"torch": "tensor", "numpy": "array"}.get(library.name, "asarray")
        implied = {"torch": ("float32", "int64"), "numpy": ("float64", "int64")}
        shape = np.shape(self.values)
        if 0 in shape and not self.expression:
            numbers, make = repr(tuple(shape)), "empty"
        elif self.dtype in implied.get(library.name, ()) and not self.expression:
            return f"{prefix}.{make}({numbers})"
        dtype = f"{prefix}.{self.dtype}"
        if library.name == "dask":
            dtype = repr(self.dtype)  # dask.array has a name for some of NumPy's dtypes only
        elif dtype == "np.bool":
            dtype = "bool"
        return f"{prefix}.{make}({numbers}, dtype={dtype})"


def _numbers(values: Any, prefix: str) -> str:
    if isinstance(values, list):
        return f"[{', '.join(_numbers(v, prefix) for v in values)}]"
    if isinstance(values, float) and not np.isfinite(values):
        return f"{prefix}.nan" if np.isnan(values) else f"{'-' * (values < 0)}{prefix}.inf"
    return repr(values)


@dataclass
class Call:
    """One call of the function, and what came of it."""

    args: tuple[Arg, ...]
    options: dict[str, Any]
    line: str
    result: Any = None  # in NumPy
    dtype: str = ""  # of the result, in its own library
    after: Any = ()  # the arguments after the call


@dataclass
class Broken(Exception):  # noqa: N818 - a law is broken; nothing went wrong
    """A law that does not hold, with what is needed to say so."""

    sort: str  # "value", "digits", "exception", …: for what `diagnosed` looks at
    expected: str
    got: str
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"expected {self.expected}, got {self.got}"


def shown(values: Any) -> str:
    """Write numbers for a reader, short where there are many."""
    array = np.asarray(values)
    if array.dtype.kind in "fO":
        array = array.astype(np.float64)
    text = np.array2string(
        array,
        threshold=24,
        edgeitems=3,
        separator=", ",
        formatter={"float_kind": lambda v: f"{v:.6g}"},
    )
    return " ".join(text.split())


@dataclass
class Subject:
    """A user's function of one kind, called with arrays of its library.

    Calling it gives a NumPy array, and raises `Broken` for an exception, a result that is no
    array of the library or has a wrong shape, and a call that takes too long.
    """

    function: Callable[..., Any]
    kind: str
    library: Library
    level: str = "textbook"
    timeout: float = 2.0
    calls: list[Call] = field(default_factory=list)
    stuck: bool = False  # a call took too long: it is not tried again

    def __post_init__(self) -> None:
        self.parameters = _parameters(self.function)
        self.name = getattr(self.function, "__name__", "f")
        if not self.name.isidentifier():
            self.name = "f"

    @property
    def axis_name(self) -> str | None:
        """The function's own word for the axis, if it takes one."""
        if self.parameters is None:  # compiled code without a signature
            known = self.library.name == "torch" and self.kind in SCORES
            return "dim" if known else None
        return next((name for name in ("axis", "dim") if name in self.parameters), None)

    def accepts(self, option: str) -> bool:
        """Tell whether the function has this keyword argument."""
        return bool(self.axis_name if option == "axis" else option in (self.parameters or ()))

    def __call__(self, *args: Any, **options: Any) -> Any:
        given = tuple(a if isinstance(a, Arg) else Arg(np.asarray(a)) for a in args)
        with self.library.context():
            keywords = self._keywords(given, options)
            built = [a.build(self.library) for a in given]
        call = Call(given, options, self._line(given, keywords))
        self.calls.append(call)
        result, after = self._run(built, keywords)
        self._form(result, given, options)
        plain = not self.library.kind(result)
        call.result = np.asarray(result) if plain else self.library.to_numpy(result)
        call.dtype = "float64" if plain else self.library.dtype_name(result)
        call.after = after
        return call.result

    def _keywords(self, given: tuple[Arg, ...], options: dict[str, Any]) -> dict[str, Any]:
        keywords = {
            key: value.build(self.library) if isinstance(value, Arg) else value
            for key, value in options.items()
            if key != "axis"
        }
        if self.kind == "softmax_jacobian":
            return keywords
        axis = options.get("axis", -1)
        if self.axis_name is not None:
            keywords[self.axis_name] = axis
        elif axis not in (-1, np.ndim(given[0].values) - 1):
            raise Broken(
                "exception",
                f"a result along axis {axis}",
                "no argument axis (or dim) to say so",
                TypeError(f"{self.name}() got an unexpected keyword argument 'axis'"),
            )
        return keywords

    def _line(self, given: tuple[Arg, ...], keywords: dict[str, Any]) -> str:
        options = [
            f"{k}={_numbers(v, '') if not hasattr(v, 'dtype') else repr(v)}"
            for k, v in keywords.items()
        ]
        return f"{self.name}({', '.join([a.text(self.library) for a in given] + options)})"

    def _run(self, built: list[Any], keywords: dict[str, Any]) -> tuple[Any, list[Any]]:
        def call() -> tuple[Any, list[Any]]:
            with self.library.context(), warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                result = self.function(*built, **keywords)
                if self.library.kind(result):
                    self.library.to_numpy(result)  # lazy libraries compute here
                return result, [self.library.to_numpy(b) for b in built]

        try:
            try:
                return limited(call, self.timeout)  # type: ignore[no-any-return]
            except TooLong:  # once more: a first call may be slow
                return limited(call, self.timeout)  # type: ignore[no-any-return]
        except TooLong:
            self.stuck = True
            raise Broken("time", "a result", f"nothing within {self.timeout:g} s") from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise Broken("exception", "a result", said, error) from error

    def _form(self, result: Any, given: tuple[Arg, ...], options: dict[str, Any]) -> None:
        shape = self.shape(given, options)
        plain = isinstance(result, float | int) and not isinstance(result, np.generic)
        if not self.library.kind(result) and not (plain and shape == ()):
            kind = type(result)
            name = (
                kind.__name__
                if kind.__module__ == "builtins"
                else f"{kind.__module__}.{kind.__name__}"
            )
            raise Broken("type", f"an array of {self.library.name}", f"{name}: {result!r:.200}")
        if tuple(np.shape(result)) != shape:
            raise Broken("shape", f"shape {shape}", f"shape {tuple(np.shape(result))}")

    def shape(self, given: tuple[Arg, ...], options: dict[str, Any]) -> tuple[int, ...]:
        """Give the shape that the result must have."""
        shape: tuple[int, ...] = np.shape(given[0].values)
        axis = options.get("axis", -1)
        if self.kind == "softmax_jacobian":
            return (*shape, shape[-1])
        if self.kind == "cross_entropy" and options.get("reduction", "mean") != "none":
            return ()
        if self.kind in ("logsumexp", "cross_entropy"):
            axes = (
                range(len(shape)) if axis is None else [a % len(shape) for a in np.atleast_1d(axis)]
            )
            return tuple(size for i, size in enumerate(shape) if i not in axes)
        return shape

    def exact(self, *args: Any, **options: Any) -> Any:
        """Give the true result, as mpmath numbers."""
        values = [a.values if isinstance(a, Arg) else a for a in args]
        options = {k: v.values if isinstance(v, Arg) else v for k, v in options.items()}
        name = "softmax_jvp" if self.kind == "softmax_vjp" else self.kind  # J is symmetric
        return getattr(_exact, name)(*values, **options)

    def unit(self, *args: Any) -> float:
        """Give the unit roundoff of the arguments' dtype."""
        dtype = args[0].dtype if isinstance(args[0], Arg) else str(np.asarray(args[0]).dtype)
        # Of integers some library makes float16.
        form = _exact.FORMATS.get(dtype, _exact.FORMATS["float16"])
        return float(2.0 ** -(form.bits + 1))

    def slack(self, *args: Any) -> float:
        """Give the relative error that is allowed at this level in the arguments' dtype."""
        return SLACK[self.level] * self.unit(*args)


def subject(
    function: Callable[..., Any],
    kind: str,
    library: str | Library = "numpy",
    level: str = "textbook",
    timeout: float | None = None,
) -> Subject:
    """Check the arguments of a check and make the subject of it."""
    if not callable(function):
        raise TypeError(f"a function is needed, got {type(function).__name__}; pass it uncalled")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if not isinstance(level, str) or level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    found = library if isinstance(library, Library) else library_named(library)
    if timeout is None:
        # PyTorch imports at a first call, and JAX compiles.
        timeout = {"numpy": 2.0, "jax": 20.0}.get(found.name, 5.0)
    if not 0 < number(timeout, "timeout") < math.inf:
        raise ValueError(f"timeout must be a number of seconds above 0, got {timeout!r}")
    return Subject(function, kind, found, level, timeout)


def _parameters(function: Callable[..., Any]) -> tuple[str, ...] | None:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return tuple(p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def close(got: Any, expected: Any, rtol: float, atol: float) -> bool:
    """Compare; NaN agrees with NaN and an infinity with itself."""
    return bool(
        np.allclose(
            np.asarray(got, np.float64),
            np.asarray(expected, np.float64),
            rtol,
            atol,
            equal_nan=True,
        )
    )
