"""The array libraries that the package is tried on, the way to each and back, and the edges."""

from __future__ import annotations

from typing import Any, NamedTuple

import array_api_strict
import dask.array
import jax
import numpy as np
import pytest
from array_api_compat import array_namespace

from softmax_notes.check._subject import subject
from tests.pytorch import needing_torch, torch

# float64 is tried in JAX too; without this switch it would silently be float32.
jax.config.update("jax_enable_x64", True)


class Library(NamedTuple):
    """An array library: how a NumPy array becomes one of its own."""

    name: str
    from_numpy: Any

    def __call__(self, values: Any, dtype: str | None = None) -> Any:
        return self.from_numpy(np.asarray(values, dtype=dtype))


# Not the device where an array comes to be if nothing is said: a forgotten `device=` is an error.
ELSEWHERE = array_api_strict.Device("device1")

LIBRARIES = {
    name: Library(name, convert)
    for name, convert in {
        "numpy": np.asarray,
        "torch": lambda a: torch.tensor(a),  # a copy: NumPy's read-only arrays would warn
        "jax": jax.numpy.asarray,
        "dask": lambda a: dask.array.from_array(a, chunks=-1),
        "strict": lambda a: array_api_strict.asarray(a, device=ELSEWHERE),
    }.items()
}

SLOW = {"jax", "dask"}  # they compile or schedule every operation


def marks(name: str) -> Any:
    """Leave a test on a slow library to `make test-slow`."""
    return pytest.mark.slow if name in SLOW else ()


INF, NAN = np.inf, np.nan
EDGES = [
    # scores, softmax, log_softmax, logsumexp
    ([NAN, 0], [NAN, NAN], [NAN, NAN], NAN),
    ([NAN, INF], [NAN, NAN], [NAN, NAN], NAN),
    ([NAN, -INF], [NAN, NAN], [NAN, NAN], NAN),
    ([INF, 0], [NAN, NAN], [NAN, NAN], INF),
    ([INF, INF], [NAN, NAN], [NAN, NAN], INF),
    ([INF, -INF], [NAN, NAN], [NAN, NAN], INF),
    ([-INF, -INF], [NAN, NAN], [NAN, NAN], -INF),
    ([-INF, 0], [0, 1], [-INF, 0], 0),
    ([-INF, 3], [0, 1], [-INF, 0], 3),
]


def floats(*names: str) -> list[Any]:
    """Give pairs of a library and a floating-point dtype that it has."""
    dtypes = ("float16", "float32", "float64")
    return [
        pytest.param(LIBRARIES[name], dtype, id=f"{name}-{dtype}", marks=marks(name))
        for name in names
        for dtype in dtypes
        if (name, dtype) != ("strict", "float16")  # the standard has no such dtype
    ]


def judged(function: Any, library: Library | str = "numpy") -> Any:
    """Make of a function of ours what the laws of `softmax_notes.check` are tried on."""
    name = library if isinstance(library, str) else library.name
    name = "array_api_strict" if name == "strict" else name
    if name == "torch":
        needing_torch("torch")
    return subject(function, function.__name__, name, "production", timeout=60)


def to_numpy(x: Any) -> np.ndarray:
    """Bring an array of any of the libraries to NumPy; bfloat16 becomes float32."""
    if isinstance(x, torch.Tensor):
        x = x.detach()
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    if type(x).__module__.startswith("array_api_strict"):
        x = x.to_device(array_api_strict.Device("CPU_DEVICE"))
    if hasattr(x, "dtype") and str(x.dtype) == "bfloat16":
        x = x.astype("float32")
    return np.asarray(x)


def same_kind(result: Any, given: Any) -> bool:
    """Tell whether a result has the library, dtype and device of what was given."""
    return (
        array_namespace(result) is array_namespace(given)
        and result.dtype == given.dtype
        and getattr(result, "device", None) == getattr(given, "device", None)
    )
