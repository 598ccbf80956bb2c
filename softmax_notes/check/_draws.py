"""The arguments that laws are tried on: strategies of Hypothesis, from simple to large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from softmax_notes.check._subject import Arg, Subject

Case = tuple[tuple[Any, ...], dict[str, Any]]  # arguments of a law, after the subject
Cases = st.SearchStrategy[Case] | Sequence[Case]

# Few shapes, the smallest first: JAX compiles anew for each, and no square table that is not
# beside an oblong one, for what mixes rows and columns up to be seen.
VECTORS = ((2,), (3,), (1,), (5,))
TABLES = ((2, 3), (3, 2), (1, 2), (4, 1), (3, 3))
CUBES = ((2, 3, 2), (1, 2, 3))


def shapes(f: Subject, ndim: int | None) -> Sequence[tuple[int, ...]]:
    """Give the shapes that a function of this kind is tried on."""
    if f.kind.startswith("cross_entropy"):
        return TABLES[:4]
    if ndim is not None:
        return {1: VECTORS, 2: TABLES}.get(ndim, CUBES)
    if f.kind.startswith("softmax_j") or f.kind.startswith("softmax_v"):
        return VECTORS
    return (VECTORS[0], TABLES[0], VECTORS[1], TABLES[1], VECTORS[2], TABLES[3])


@st.composite
def array_of(draw: Any, shape: tuple[int, ...], largest: int, dtype: str = "float64") -> Any:
    """Draw multiples of 1/8, which every format holds and whose differences are exact."""
    size = int(np.prod(shape))
    number = st.integers(-8 * largest, 8 * largest)
    eighths = draw(st.lists(number, min_size=size, max_size=size))
    return (np.array(eighths, dtype=np.float64) / 8).reshape(shape).astype(dtype)


@st.composite
def scores(
    draw: Any,
    f: Subject,
    ndim: int | None,
    largest: int = 8,
    dtype: str = "float64",
    among: Sequence[tuple[int, ...]] | None = None,
) -> Arg:
    shape = draw(st.sampled_from(among or shapes(f, ndim)))
    return Arg(draw(array_of(shape, largest, dtype)), dtype)


@st.composite
def distributions(
    draw: Any,
    f: Subject,
    ndim: int | None,
    dtype: str = "float64",
    among: Sequence[tuple[int, ...]] | None = None,
) -> Arg:
    """Draw probabilities: shares of whole numbers, so that a reader can write them down."""
    shape = draw(st.sampled_from(among or shapes(f, ndim)))
    size = int(np.prod(shape))
    weights = draw(st.lists(st.integers(1, 16), min_size=size, max_size=size))
    table = np.array(weights, dtype=np.float64).reshape(shape)
    return Arg((table / table.sum(axis=-1, keepdims=True)).astype(dtype), dtype)


@st.composite
def targets(draw: Any, x: Arg, axis: int = -1) -> Arg:
    shape = np.moveaxis(x.values, axis, -1).shape
    size = int(np.prod(shape[:-1]))
    classes = draw(st.lists(st.integers(0, shape[-1] - 1), min_size=size, max_size=size))
    return Arg(np.array(classes, dtype=np.int64).reshape(shape[:-1]), "int64")


@st.composite
def arguments(
    draw: Any,
    f: Subject,
    ndim: int | None,
    largest: int = 8,
    dtype: str = "float64",
    among: Sequence[tuple[int, ...]] | None = None,
) -> Any:
    """Draw what a function of this kind takes."""
    if f.kind in ("softmax", "log_softmax", "logsumexp"):
        return (draw(scores(f, ndim, largest, dtype, among)),)
    if f.kind.startswith("cross_entropy"):
        x = draw(scores(f, ndim, largest, dtype, among))
        return x, draw(targets(x))
    p = draw(distributions(f, ndim, dtype, among))
    if f.kind == "softmax_jacobian":
        return (p,)
    return p, Arg(draw(array_of(p.values.shape, largest, dtype)), dtype)


def plain(strategy: Any) -> Cases:
    return strategy.map(lambda given: (given, {}))
