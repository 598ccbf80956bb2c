"""The array libraries that functions are checked in: how a NumPy array gets there and back."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np

FLOATS = ("float64", "float32", "float16", "bfloat16")


class Library(NamedTuple):
    """An array library, as far as checking needs one."""

    name: str
    prefix: str  # how its users import it
    make: Callable[[Any, str], Any]  # a fresh array of that dtype
    kind: Callable[[Any], bool]  # whether a result is an array of this library
    context: Callable[[], AbstractContextManager[Any]]  # what calls need around them
    dtypes: tuple[str, ...] = FLOATS  # floating dtypes it has
    layouts: tuple[str, ...] = ()  # strided arrays it can make

    def dtype_name(self, x: Any) -> str:
        return str(x.dtype).rpartition(".")[2]

    def to_numpy(self, x: Any) -> np.ndarray:
        """Copy a result to NumPy; bfloat16, which NumPy has not, becomes float32."""
        if hasattr(x, "detach"):
            x = x.detach().cpu()
        if hasattr(x, "dtype") and self.dtype_name(x) == "bfloat16":
            x = x.float() if hasattr(x, "float") else x.astype("float32")
        return np.array(x.numpy() if hasattr(x, "numpy") else x)


def _numpy() -> Library:
    return Library(
        "numpy",
        "np",
        lambda values, dtype: np.array(values, dtype=dtype),
        # A reduction gives a number, as np.sum does.
        lambda x: isinstance(x, np.ndarray | np.generic),
        nullcontext,
        FLOATS[:3],
        ("transposed", "step", "reversed", "broadcast"),
    )


def _torch() -> Library:
    torch = importlib.import_module("torch")
    return Library(
        "torch",
        "torch",
        lambda values, dtype: torch.tensor(np.array(values)).to(getattr(torch, dtype)),
        lambda x: isinstance(x, torch.Tensor),
        nullcontext,
        layouts=("transposed", "step", "broadcast"),
    )


def _jax() -> Library:
    jax = importlib.import_module("jax")

    @contextmanager
    def float64() -> Iterator[None]:
        """Without it float64 would silently be float32; only the calls of a check see it."""
        with jax.enable_x64(True):
            yield

    return Library(
        "jax",
        "jnp",
        lambda values, dtype: jax.numpy.asarray(np.array(values), dtype=dtype),
        lambda x: isinstance(x, jax.Array),
        float64,
    )


def _dask() -> Library:
    dask = importlib.import_module("dask.array")
    return Library(
        "dask",
        "da",
        lambda values, dtype: dask.from_array(np.array(values, dtype=dtype), chunks=-1),
        lambda x: isinstance(x, dask.Array),
        nullcontext,
        FLOATS[:3],
    )


def _strict() -> Library:
    strict = importlib.import_module("array_api_strict")
    return Library(
        "array_api_strict",
        "xp",
        lambda values, dtype: strict.asarray(np.array(values, dtype=dtype)),
        lambda x: isinstance(x, type(strict.asarray(0))),
        nullcontext,
        FLOATS[:2],
    )


_MAKERS = {
    "numpy": _numpy,
    "torch": _torch,
    "jax": _jax,
    "dask": _dask,
    "array_api_strict": _strict,
}


def library_named(name: str) -> Library:
    """Load a library, or say which ones there are."""
    if not isinstance(name, str) or name not in _MAKERS:
        raise ValueError(f"library must be one of {', '.join(_MAKERS)}, got {name!r}")
    try:
        return _MAKERS[name]()
    except ImportError as error:
        raise ImportError(f"library={name!r} needs {name} installed: pip install {name}") from error
