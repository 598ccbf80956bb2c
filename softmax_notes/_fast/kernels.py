"""The loops of `softmax_notes.fast`, compiled by Numba on their first call and then cached.

Every score goes through `exponential`. The scores of a slice are shifted not by their maximum m
but by the multiple K ln 2 next to it: then the shift is part of the range reduction,
x - K ln 2 = (k - K) ln 2 + r, and costs neither an operation nor a rounding. Where m is so large
that K would not fit, x - m is exact for every score that counts. Exponents are kept too large by
a constant, so that no term is subnormal before the last multiplication.

Sums run over blocks of 16 vectors, whose results are added with their rounding errors; what is
added to what depends on the length of a slice alone. So a result does not depend on how many
threads there are.
"""

# mypy: disable-error-code="no-untyped-call, no-untyped-def, misc, call-arg, var-annotated"
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from softmax_notes._fast.vectors import (
    added,
    constant,
    exponent_bits,
    fence,
    fetch_add,
    fill,
    first_lanes,
    fma,
    lane,
    lanes,
    larger,
    largest,
    load,
    load_part,
    misaligned,
    polynomial,
    power_of_two,
    prefetch,
    read,
    reciprocal,
    scalar,
    store,
    store_part,
    stream,
    total,
    vector_of,
    where_equal,
    where_less,
    with_lane,
)

SOFTMAX, LOG_SOFTMAX, LOGSUMEXP = 0, 1, 2
PATIENCE = 100_000  # looks at a counter before a thread goes to sleep: about 0.1 ms
FAR = 128  # vectors between what is read and what is asked for
LINE = 8  # integers in a cache line: each counter has one to itself
BLOCK = 16384  # elements that a thread takes at a time
SHORT = 8  # vectors: rows up to here take a shorter way
PANEL = 32768  # elements of columns that are copied side by side
CHUNK = 32768  # elements of a piece of a long row
LONG = 131072  # a row longer than this is read in pieces

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
inline: Any = numba.njit(forceinline=True, **_OPTIONS)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on the first call; keep the code on disk if there is a place to write."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**_OPTIONS)(function)


# --- work that is shared out between threads


@inline
def claim(team, me, block, blocks):
    """Take the next block; give ``blocks`` if there is none.

    Each thread has a share of its own, so that at the next call with the same arrays it meets
    what its cache holds, and helps with the shares of the others when it has done that.
    """
    threads = team.state.shape[0] // LINE - 1
    if threads < 1:  # alone: one after the other
        return block + 1
    if block < 0 and me == 0:
        fetch_add(team.bell, 0, 1)
    for other in range(me, me + threads):
        owner = other % threads
        start, end = owner * blocks // threads, (owner + 1) * blocks // threads
        block = start + fetch_add(team.state, (1 + owner) * LINE, 1)
        if block < end:
            return block
    return blocks


@inline
def done(team, count):
    """Count what is finished."""
    if team.state.shape[0]:
        fence()
        fetch_add(team.state, 0, count)


class Team(NamedTuple):
    """What the threads of a call share."""

    state: Any  # what is done, and the next block of each thread; empty for one thread
    bell: Any  # strokes that call the helpers


@kernel
def wait(state, units, patience):
    """Watch for the others to be done, for a while; tell whether they are."""
    while read(state, 0) < units and patience > 0:
        patience -= 1
    return read(state, 0) >= units


@inline
def strokes(bell):
    """Give how often it has rung; a call in one thread has no bell."""
    return read(bell, 0) if bell.shape[0] else 0


@inline
def linger(team, me, heard):
    """Keep a helper awake until the next call or for a while: waking it takes as long as a call.

    It does not hold the interpreter's lock meanwhile, which the caller needs to return.
    """
    patience = PATIENCE if me else 0
    while patience > 0 and read(team.bell, 0) == heard:
        patience -= 1


# --- the exponential


class Shift(NamedTuple):
    """What is taken from the scores of each lane before they are exponentiated."""

    start: Any  # subtracted first: 0, or the maximum where that is large
    lowest: Any  # a difference below it counts as this
    bias: Any  # bits of the exponent: the bias less K


@inline
def shift_of(m):
    """Choose the shift of each lane, given its maximum; one that is no number makes NaN."""
    start = where_less(m, constant(m, "exact"), fill(m, 0.0), m)
    magic = constant(m, "magic")
    k = fma(m - start, constant(m, "inverse_ln2"), magic) - magic
    lowest = constant(m, "floor") - k * constant(m, "minus_high")
    return Shift(start, lowest, exponent_bits(k))


@inline
def exponential(x, shift):
    """Give 2^b e^(x - shift), with the same b for all; NaN if x is NaN."""
    t = larger(shift.lowest, x - shift.start)
    shifted = fma(t, constant(x, "inverse_ln2"), constant(x, "magic"))
    k = shifted - constant(x, "magic")
    r = fma(k, constant(x, "minus_low"), fma(k, constant(x, "minus_high"), t))
    scale = power_of_two(shifted, shift.bias)
    return fma(scale, fma(r * r, polynomial(r), r), scale)


@inline
def flush(high, low, s):
    """Add s to a sum that is kept with its rounding errors."""
    t = high + s
    back = t - high
    return t, low + ((high - (t - back)) + (s - back))


# --- one row, contiguous: n elements of x from element `at` on


@inline
def maximum(x, at, n):
    """Give the largest number of a row; NaN is passed over."""
    v = vector_of(x)
    w = lanes(v)
    lowest = fill(v, -np.inf)
    a, b, c, d = lowest, lowest, lowest, lowest
    i = 0
    while i + 4 * w <= n:
        a = larger(load(v, x, at + i), a)
        b = larger(load(v, x, at + i + w), b)
        c = larger(load(v, x, at + i + 2 * w), c)
        d = larger(load(v, x, at + i + 3 * w), d)
        i += 4 * w
    while i + w <= n:
        a = larger(load(v, x, at + i), a)
        i += w
    if i < n:
        b = larger(load_part(lowest, x, at + i, n - i), b)
    return largest(larger(larger(a, b), larger(c, d)))


@inline
def terms(x, at, n, shift, out, to, keep, ahead):
    """Add the exponentials of a row; write them from element ``to`` of out on, if asked.

    Those that do not fill a vector are given back instead: read soon after it was written, a
    part of a vector makes the processor wait. On the way it finds the maximum of the row of n
    elements from ``ahead`` on, which is next: the multiplications leave time to fetch it from
    memory.
    """
    v = vector_of(x)
    w = lanes(v)
    zero, lowest = fill(v, 0.0), fill(v, -np.inf)
    high, low = zero, zero
    a, b, c, d = zero, zero, zero, zero
    p, q, last = lowest, lowest, zero
    i = 0
    while i + 4 * w <= n:
        e = exponential(load(v, x, at + i), shift)
        f = exponential(load(v, x, at + i + w), shift)
        g = exponential(load(v, x, at + i + 2 * w), shift)
        h = exponential(load(v, x, at + i + 3 * w), shift)
        prefetch(x, ahead + i + FAR * w)
        prefetch(x, ahead + i + (FAR + 1) * w)
        prefetch(x, ahead + i + (FAR + 2) * w)
        prefetch(x, ahead + i + (FAR + 3) * w)
        p = larger(load(v, x, ahead + i), p)
        q = larger(load(v, x, ahead + i + w), q)
        p = larger(load(v, x, ahead + i + 2 * w), p)
        q = larger(load(v, x, ahead + i + 3 * w), q)
        if keep:
            store(out, to + i, e)
            store(out, to + i + w, f)
            store(out, to + i + 2 * w, g)
            store(out, to + i + 3 * w, h)
        a, b, c, d = a + e, b + f, c + g, d + h
        i += 4 * w
        if i % (16 * w) == 0:
            high, low = flush(high, low, (a + b) + (c + d))
            a, b, c, d = zero, zero, zero, zero
    while i + w <= n:
        e = exponential(load(v, x, at + i), shift)
        p = larger(load(v, x, ahead + i), p)
        if keep:
            store(out, to + i, e)
        a = a + e
        i += w
    if i < n:
        last = exponential(load_part(lowest, x, at + i, n - i), shift)
        q = larger(load_part(lowest, x, ahead + i, n - i), q)
        b = b + last
    high, low = flush(high, low, (a + b) + (c + d))
    return total(high, low), largest(larger(p, q)), last


@inline
def others(x, at, n, shift, m):
    """Add the exponentials of the scores that are not the maximum."""
    v = vector_of(x)
    w = lanes(v)
    zero, top = fill(v, 0.0), fill(v, m)
    high, low, s = zero, zero, zero
    i = 0
    while i < n:
        y = load(v, x, at + i) if i + w <= n else load_part(fill(v, -np.inf), x, at + i, n - i)
        s = s + where_equal(y, top, zero, exponential(y, shift))
        i += w
        if i % (16 * w) == 0:
            high, low = flush(high, low, s)
            s = zero
    high, low = flush(high, low, s)
    return total(high, low)


@inline
def excess(x, at, n, shift, m, s):
    """Give the sum without one maximum, relative to the maximum's term; s is the whole sum.

    Where the maximum is most of the sum, the difference would lose the rest: add again.
    """
    first = np.float64(lane(exponential(fill(vector_of(x), m), shift), 0))
    if s < 1.5 * first:  # then no other score equals the maximum
        return others(x, at, n, shift, m) / first
    return (s - first) / first


@inline
def scaled(src, at, n, out, to, factor, streamed, last):
    """Multiply a row by a number; ``last`` holds what does not fill a vector."""
    v = vector_of(out)
    w = lanes(v)
    by = fill(v, factor)
    i = 0
    if streamed and n >= 2 * w:
        # Whole lines of the cache, and a vector at either end, which overlap them.
        store(out, to, load(v, src, at) * by)
        i = misaligned(out, to)
        while i + w <= n:
            stream(out, to + i, load(v, src, at + i) * by)
            i += w
        i = n // w * w
        store(out, to + i - w, load(v, src, at + i - w) * by)
        if i < n:
            store_part(out, to + i, last * by, n - i)
        return
    while i + w <= n:
        store(out, to + i, load(v, src, at + i) * by)
        i += w
    if i < n:
        store_part(out, to + i, last * by, n - i)


@inline
def lowered(x, at, n, out, to, m, log_s, streamed):
    """Take the maximum and then the logarithm of the sum from a row."""
    v = vector_of(out)
    w = lanes(v)
    a, b = fill(v, m), fill(v, log_s)
    i = 0
    if streamed:
        i = min(misaligned(out, to), n)
        store_part(out, to, load_part(a, x, at, i) - a - b, i)
        while i + w <= n:
            stream(out, to + i, load(v, x, at + i) - a - b)
            i += w
    while i + w <= n:
        store(out, to + i, load(v, x, at + i) - a - b)
        i += w
    if i < n:
        store_part(out, to + i, load_part(a, x, at + i, n - i) - a - b, n - i)


@inline
def has_nan(x, at, n):
    """Tell whether a row holds NaN."""
    v = vector_of(x)
    w = lanes(v)
    s = fill(v, 0.0)
    i = 0
    while i < n:
        y = load(v, x, at + i) if i + w <= n else load_part(s, x, at + i, n - i)
        # 0 for every number and infinity, NaN for NaN
        s = s + where_less(y, fill(v, np.inf), fill(v, 0.0), where_equal(y, y, fill(v, 0.0), y))
        i += w
    return not total(s, s) == 0.0  # noqa: SIM201  NaN equals nothing


@inline
def short(x, at, n, out, to):
    """Do softmax of a row of a few vectors, with less ado."""
    v = vector_of(x)
    w = lanes(v)
    lowest = fill(v, -np.inf)
    if n <= w:
        y = load_part(lowest, x, at, n)
        e = exponential(y, shift_of(fill(v, largest(larger(y, lowest)))))
        store_part(out, to, e * fill(v, 1 / added(e)), n)
        return
    i = n // w * w
    tail = load_part(lowest, x, at + i, n - i) if i < n else lowest
    m = tail
    for j in range(0, i, w):
        m = larger(load(v, x, at + j), m)
    m = larger(m, lowest)  # in the tail was perhaps NaN
    shift = shift_of(fill(v, largest(m)))
    last = exponential(tail, shift)
    s = last if i < n else fill(v, 0.0)
    for j in range(0, i, w):
        e = exponential(load(v, x, at + j), shift)
        store(out, to + j, e)
        s = s + e
    by = fill(v, 1 / added(s))
    for j in range(0, i, w):
        store(out, to + j, load(v, out, to + j) * by)
    if i < n:
        store_part(out, to + i, last * by, n - i)


@inline
def short_excess(x, at, n):
    """Give the maximum of such a row, and the sum without it, relative to its term."""
    v = vector_of(x)
    w = lanes(v)
    zero, one, lowest = fill(v, 0.0), fill(v, 1.0), fill(v, -np.inf)
    m = lowest
    for i in range(0, n, w):
        m = larger(get(lowest, x, at + i, n - i), m)
    top = fill(v, largest(m))
    shift = shift_of(top)
    rest, ties = zero, zero
    for i in range(0, n, w):
        y = get(lowest, x, at + i, n - i)
        rest = rest + where_equal(y, top, zero, exponential(y, shift))
        ties = ties + where_equal(y, top, one, zero)
    # Every maximum but one is part of the rest.
    return largest(m), added(rest) / lane(exponential(top, shift), 0) + (added(ties) - 1)


@inline
def get(v, a, i, count):
    """Read a vector, or the part of it that is there; the other lanes are those of v."""
    return load(v, a, i) if count >= lanes(v) else load_part(v, a, i, count)


@inline
def put(a, i, v, count):
    """Write a vector, or the part of it that is there."""
    if count >= lanes(v):
        store(a, i, v)
    else:
        store_part(a, i, v, count)


@inline
def start_of(a, i):
    """Give the place of the first element of row i."""
    return i * (a.strides[0] // a.itemsize)


@kernel
def rows(x, out, kind, streamed, state, bell, me):
    """Do whole rows: x (N, n), out (N, n) or, for logsumexp, (N, 1)."""
    team = Team(state, bell)
    heard = strokes(bell)
    count, n = x.shape
    v = vector_of(x)
    step = max(1, BLOCK // max(n, 1))
    blocks = (count + step - 1) // step
    scratch = np.empty(n + lanes(v) if streamed and kind == SOFTMAX else 0, x.dtype)
    aside = misaligned(scratch, 0)
    block = claim(team, me, -1, blocks)
    m = maximum(x, start_of(x, block * step), n) if block < blocks else lane(v, 0)
    while block < blocks:
        following = claim(team, me, block, blocks)
        end = min(count, (block + 1) * step)
        for i in range(block * step, end):
            at, to = start_of(x, i), start_of(out, i)
            ahead = start_of(x, min(following * step if i + 1 == end else i + 1, count - 1))
            if kind == SOFTMAX and n <= SHORT * lanes(v):
                short(x, at, n, out, to)
                continue
            if kind == LOGSUMEXP and n <= SHORT * lanes(v):
                m, rest = short_excess(x, at, n)
                if abs(m) < np.inf:
                    out[i, 0] = m + np.log1p(np.float64(rest))
                else:
                    out[i, 0] = np.nan if has_nan(x, at, n) else m
                continue
            shift = shift_of(fill(v, m))
            if kind == SOFTMAX:
                if streamed:
                    s, then, last = terms(x, at, n, shift, scratch, aside, True, ahead)
                    scaled(scratch, aside, n, out, to, 1.0 / s, True, last)
                else:
                    s, then, last = terms(x, at, n, shift, out, to, True, ahead)
                    scaled(out, to, n, out, to, 1.0 / s, False, last)
            else:
                s, then, last = terms(x, at, n, shift, out, 0, False, ahead)
                if kind == LOG_SOFTMAX:
                    log_s = np.log1p(excess(x, at, n, shift, m, s))
                    lowered(x, at, n, out, to, m, log_s, streamed)
                elif abs(m) < np.inf:
                    out[i, 0] = m + np.log1p(excess(x, at, n, shift, m, s))
                else:
                    out[i, 0] = np.nan if has_nan(x, at, n) else m
            m = then
        done(team, end - block * step)
        block = following
    linger(team, me, heard)


# --- a row so long that threads share it: pieces, their merge, and the result piece by piece


@kernel
def pieces(x, parts, state, bell, me):
    """Sum up each piece of each row: parts (N, pieces, 4) holds m, K, e^-c and its rest.

    The last two are the sum of all exponentials and of those but one maximum's, both in units
    of 2^b e^c, with c the shift of the piece.
    """
    team, heard = Team(state, bell), strokes(bell)
    n = x.shape[1]
    v = vector_of(x)
    blocks = parts.shape[0] * parts.shape[1]
    block = claim(team, me, -1, blocks)
    while block < blocks:
        row, piece = divmod(block, parts.shape[1])
        size = min(CHUNK, n - piece * CHUNK)
        at = start_of(x, row) + piece * CHUNK
        m = maximum(x, at, size)
        shift = shift_of(fill(v, m))
        part = parts[row, piece]
        part[0] = m
        part[1] = whole(fill(v, m))
        if abs(m) < np.inf:
            s, _, _ = terms(x, at, size, shift, x, 0, False, at)
            first = np.float64(lane(exponential(fill(v, m), shift), 0))
            part[2] = s
            part[3] = excess(x, at, size, shift, m, s) * first
        else:
            part[2] = part[3] = np.nan if m > 0 or has_nan(x, at, size) else 0.0
            if m > 0 and not has_nan(x, at, size):
                part[2] = np.inf
        done(team, 1)
        block = claim(team, me, block, blocks)
    linger(team, me, heard)


@inline
def whole(m):
    """Give K, the number of ln 2 in the shift; 0 where the maximum itself is the shift."""
    start = where_less(m, constant(m, "exact"), fill(m, 0.0), m)
    magic = constant(m, "magic")
    k = fma(m - start, constant(m, "inverse_ln2"), magic) - magic
    return np.float64(lane(k, 0))


@inline
def weight_of(x, m, k, top, top_k):
    """Give e^(c - C) for the shifts of a piece and a row; a power of 2 if both are K ln 2."""
    v = vector_of(x)
    start = m if abs(m) >= scalar(v, "exact") else 0.0
    top_start = top if abs(top) >= scalar(v, "exact") else 0.0
    if start == 0 and top_start == 0:
        return math.ldexp(1.0, int(max(k - top_k, -2000.0)))
    d = k - top_k
    coarse = 4 * math.floor(d / 4)  # few enough digits for its product to be exact
    high = (start - top_start) - coarse * scalar(v, "minus_high")
    return math.exp(high - (d - coarse) * scalar(v, "minus_high") - d * scalar(v, "minus_low"))


@kernel
def merge(x, parts, totals):
    """Merge the pieces of each row: totals (N, 3) holds m, the sum, and its excess."""
    v = vector_of(x)
    for row in range(parts.shape[0]):
        pivot = 0
        undefined = False
        for piece in range(parts.shape[1]):
            undefined |= np.isnan(parts[row, piece, 2])
            if parts[row, piece, 0] > parts[row, pivot, 0]:
                pivot = piece
        m, k = parts[row, pivot, 0], parts[row, pivot, 1]
        totals[row, 0] = m
        totals[row, 1] = totals[row, 2] = np.nan
        if undefined or abs(m) == np.inf:
            totals[row, 0] = np.nan if undefined else m
            continue
        rest, lost = parts[row, pivot, 3], 0.0
        for piece in range(parts.shape[1]):
            if piece != pivot and parts[row, piece, 2] > 0:
                weight = weight_of(x, parts[row, piece, 0], parts[row, piece, 1], m, k)
                rest, lost = flush(rest, lost, parts[row, piece, 2] * weight)
        vector = fill(v, m)
        first = np.float64(lane(exponential(vector, shift_of(vector)), 0))
        totals[row, 2] = (rest + lost) / first
        totals[row, 1] = first + (rest + lost)


@kernel
def spread(x, totals, out, kind, streamed, factor, state, bell, me):
    """Write softmax, times a factor for each row, or log_softmax of long rows, in pieces."""
    team, heard = Team(state, bell), strokes(bell)
    count, n = x.shape
    v = vector_of(x)
    each = (n + CHUNK - 1) // CHUNK
    scratch = np.empty(CHUNK + lanes(v), x.dtype)
    aside = misaligned(scratch, 0)
    block = claim(team, me, -1, count * each)
    while block < count * each:
        row, piece = divmod(block, each)
        size = min(CHUNK, n - piece * CHUNK)
        at = start_of(x, row) + piece * CHUNK
        to = start_of(out, row) + piece * CHUNK
        m = totals[row, 0]
        if kind == SOFTMAX:
            shift = shift_of(fill(v, m))
            _, _, last = terms(x, at, size, shift, scratch, aside, True, at)
            by = factor[row] / totals[row, 1]
            scaled(scratch, aside, size, out, to, by, streamed, last)
        else:
            lowered(x, at, size, out, to, m, np.log1p(totals[row, 2]), streamed)
        done(team, 1)
        block = claim(team, me, block, count * each)
    linger(team, me, heard)


# --- slices that are not contiguous: x (outer, n, inner), and each lane is a slice of its own


@inline
def column_terms(panel, at, step, n, shift, keep):
    """Add the exponentials of each lane of a column of vectors; replace it by them, if asked."""
    zero = fill(vector_of(panel), 0.0)
    high, low, s = zero, zero, zero
    for i in range(n):
        e = exponential(load(zero, panel, at + i * step), shift)
        if keep:
            store(panel, at + i * step, e)
        s = s + e
        if i % 16 == 15:
            high, low = flush(high, low, s)
            s = zero
    return flush(high, low, s)


@inline
def column_others(panel, at, step, n, shift, m):
    """Add those that are not the maximum of their lane."""
    zero = fill(vector_of(panel), 0.0)
    high, low, s = zero, zero, zero
    for i in range(n):
        y = load(zero, panel, at + i * step)
        s = s + where_equal(y, m, zero, exponential(y, shift))
        if i % 16 == 15:
            high, low = flush(high, low, s)
            s = zero
    return flush(high, low, s)


@inline
def column_log(panel, at, step, n, shift, m, high, low):
    """Give log1p of the excess of each lane, as `excess` does for a row."""
    first = exponential(m, shift)
    dominated = False
    for j in range(lanes(m)):
        s, one = np.float64(lane(high, j)) + lane(low, j), np.float64(lane(first, j))
        dominated |= s < 1.5 * one
    rest_high, rest_low = high, low
    if dominated:
        rest_high, rest_low = column_others(panel, at, step, n, shift, m)
    logs = m
    for j in range(lanes(m)):
        s, one = np.float64(lane(high, j)) + lane(low, j), np.float64(lane(first, j))
        rest = s - one
        if s < 1.5 * one:
            rest = np.float64(lane(rest_high, j)) + lane(rest_low, j)
        logs = with_lane(logs, j, np.log1p(rest / one))
    return logs


@inline
def column_logsumexp(panel, at, step, n, m, log_s):
    """Give m + log S of each lane; an infinite m decides alone, unless there is NaN."""
    result = m
    for j in range(lanes(m)):
        top = np.float64(lane(m, j))
        value = top + lane(log_s, j)
        if abs(top) == np.inf:
            value = top
            for i in range(n):
                if has_nan(panel, at + i * step + j, 1):
                    value = np.nan
        result = with_lane(result, j, value)
    return result


@kernel
def columns(x, out, kind, streamed, state, bell, me):
    """Do slices along the middle axis: x, out (outer, n, inner) or out (outer, 1, inner).

    A panel, some vectors wide, is copied side by side first: where rows are a power of two apart,
    the cache has few places for one column.
    """
    team, heard = Team(state, bell), strokes(bell)
    outer, n, inner = x.shape
    v = vector_of(x)
    w = lanes(v)
    wide = (inner + w - 1) // w
    width = panel_width(n, wide, w)
    each = (wide + width - 1) // width
    panel = np.empty((n + 3) * width * w, x.dtype)
    aside = misaligned(panel, 0)
    step, tops = width * w, aside + n * width * w
    factors = tops + width * w
    x_step, out_step = x.strides[1] // x.itemsize, out.strides[1] // out.itemsize
    aligned = streamed and misaligned(out, 0) == 0 and out_step % w == 0
    block = claim(team, me, -1, outer * each)
    while block < outer * each:
        row, place = divmod(block, each)
        start = place * width
        size = min(width, wide - start)
        at, to = start_of(x, row) + start * w, start_of(out, row) + start * w
        for j in range(size):
            store(panel, tops + j * w, fill(v, -np.inf))
        for i in range(n):
            for j in range(size):
                y = get(fill(v, 0.0), x, at + i * x_step + j * w, inner - (start + j) * w)
                store(panel, aside + i * step + j * w, y)
                store(panel, tops + j * w, larger(y, load(v, panel, tops + j * w)))
        for j in range(size):
            m = load(v, panel, tops + j * w)
            shift = shift_of(m)
            high, low = column_terms(panel, aside + j * w, step, n, shift, kind == SOFTMAX)
            if kind == SOFTMAX:
                store(panel, factors + j * w, reciprocal(high + low))
                continue
            log_s = column_log(panel, aside + j * w, step, n, shift, m, high, low)
            if kind == LOGSUMEXP:
                y = column_logsumexp(panel, aside + j * w, step, n, m, log_s)
                put(out, to + j * w, y, inner - (start + j) * w)
            else:
                store(panel, factors + j * w, log_s)
        for i in range(n if kind != LOGSUMEXP else 0):
            for j in range(size):
                y = load(v, panel, aside + i * step + j * w)
                factor = load(v, panel, factors + j * w)
                y = y * factor if kind == SOFTMAX else y - load(v, panel, tops + j * w) - factor
                if aligned:
                    stream(out, to + i * out_step + j * w, y)
                else:
                    put(out, to + i * out_step + j * w, y, inner - (start + j) * w)
        done(team, 1)
        block = claim(team, me, block, outer * each)
    linger(team, me, heard)


@inline
def panel_width(n, wide, w):
    """Give how many vectors side by side make a panel that a cache holds."""
    return min(wide, max(4, PANEL // (max(n, 1) * w)))


# --- cross-entropy, and its gradient on the way


@kernel
def add_up(loss):
    """Add numbers with their rounding errors."""
    high, low = 0.0, 0.0
    for value in loss:
        high, low = flush(high, low, value)
    return high + low if abs(high) < np.inf else high


@kernel
def weigh(target, n, ignored, skip, weight):
    """Check class indices: give the first position of a wrong one, or -1, and the total weight.

    A target equal to ``ignored`` counts for nothing, if ``skip``.
    """
    whole_weight, wrong = 0.0, -1
    for i in range(target.shape[0]):
        t = target[i]
        if skip and t == ignored:
            continue
        if t < 0 or t >= n:
            wrong = i
            break
        whole_weight += weight[t] if weight.shape[0] else 1.0
    return wrong, whole_weight


@inline
def hard_loss(x, at, m, log_s, t):
    """Give -log p of one class; nothing cancels, for both terms are at least 0."""
    y = np.float64(lane(load_part(vector_of(x), x, at + t, 1), 0))
    return (np.float64(m) - y) + log_s


@inline
def set_at(a, i, value):
    """Write one number."""
    store_part(a, i, fill(vector_of(a), value), 1)


@kernel
def losses(x, target, weight, ignored, skip, divisor, loss, grad, want, streamed, state, bell, me):
    """Give each row's loss against a class index, and the gradient of their sum / divisor."""
    team, heard = Team(state, bell), strokes(bell)
    count, n = x.shape
    v = vector_of(x)
    step = max(1, BLOCK // max(n, 1))
    blocks = (count + step - 1) // step
    scratch = np.empty(n + lanes(v) if want and streamed else 0, x.dtype)
    aside = misaligned(scratch, 0)
    block = claim(team, me, -1, blocks)
    m = maximum(x, start_of(x, block * step), n) if block < blocks else lane(v, 0)
    while block < blocks:
        following = claim(team, me, block, blocks)
        end = min(count, (block + 1) * step)
        for i in range(block * step, end):
            at, to = start_of(x, i), start_of(grad, i)
            ahead = start_of(x, min(following * step if i + 1 == end else i + 1, count - 1))
            t = target[i]
            shift = shift_of(fill(v, m))
            if want and not streamed:
                s, then, last = terms(x, at, n, shift, grad, to, True, ahead)
            else:
                s, then, last = terms(x, at, n, shift, scratch, aside, want, ahead)
            if skip and t == ignored:
                loss[i] = 0.0
                if want:
                    clear(grad, to, n)
            else:
                factor = np.float64(weight[t]) if weight.shape[0] else 1.0
                one = hard_loss(x, at, m, np.log1p(excess(x, at, n, shift, m, s)), t)
                loss[i] = factor * one if factor or np.isnan(one) else 0.0
                factor = factor / divisor
                if want:
                    if streamed:
                        scaled(scratch, aside, n, grad, to, factor / s, True, last)
                        fence()
                    else:
                        scaled(grad, to, n, grad, to, factor / s, False, last)
                    set_at(grad, to + t, math.expm1(-one) * factor)
            m = then
        done(team, end - block * step)
        block = following
    linger(team, me, heard)


@inline
def clear(a, to, n):
    """Write zeros."""
    v = vector_of(a)
    for i in range(0, n, lanes(v)):
        put(a, to + i, v, n - i)


@inline
def amounts(y, has_y, at, weight, i, count, share, spread_evenly):
    """Give the target in each class: (share y + spread_evenly) w."""
    v = vector_of(y)
    a = fill(v, spread_evenly)
    if has_y:
        a = fma(get(v, y, at + i, count), fill(v, share), a)
    return a * get(v, weight, i, count) if weight.shape[0] else a


@kernel
def soft_losses(
    x, y, has_y, target, ignored, skip, weight, share, even, divisor, loss, grad, want,
    state, bell, me,
):  # fmt: skip
    """Do the same for targets in every class: probabilities y, or smoothed class indices."""
    team, heard = Team(state, bell), strokes(bell)
    count, n = x.shape
    v = vector_of(x)
    w = lanes(v)
    zero = fill(v, 0.0)
    step = max(1, BLOCK // max(n, 1))
    blocks = (count + step - 1) // step
    scratch = np.empty(n + w, x.dtype)
    block = claim(team, me, -1, blocks)
    while block < blocks:
        end = min(count, (block + 1) * step)
        for row in range(block * step, end):
            at, to, y_at = start_of(x, row), start_of(grad, row), start_of(y, row)
            t = np.int64(-1) if has_y else target[row]
            if not has_y and skip and t == ignored:
                loss[row] = 0.0
                if want:
                    clear(grad, to, n)
                continue
            m = maximum(x, at, n)
            top = fill(v, m)
            shift = shift_of(top)
            s, _, last = terms(x, at, n, shift, scratch, 0, True, at)
            if n % w:
                store(scratch, n // w * w, last)
            log_s = np.log1p(excess(x, at, n, shift, m, s))
            high, low, far_high, far_low = zero, zero, zero, zero
            for i in range(0, n, w):
                a = amounts(y, has_y, y_at, weight, i, n - i, share, even)
                a = a if i + w <= n else first_lanes(a, n - i)
                high, low = flush(high, low, a)
                # A class that is no part of the target adds 0, not 0 · inf.
                gap = where_equal(a, zero, zero, top - get(top, x, at + i, n - i))
                far_high, far_low = flush(far_high, far_low, a * gap)
            # A gap that is infinite makes the compensation NaN.
            far = total(far_high, far_low)
            far = np.inf if np.isnan(far) and abs(m) < np.inf and s == s else far
            extra, one = 0.0, 0.0
            if t >= 0:
                extra = share * (np.float64(weight[t]) if weight.shape[0] else 1.0)
                one = hard_loss(x, at, m, log_s, t)
            amount = total(high, low)
            loss[row] = far + amount * log_s + (extra * one if extra else 0.0)
            if want:
                p = fill(v, (amount + extra) / divisor / s)
                by = fill(v, -1.0 / divisor)
                for i in range(0, n, w):
                    a = amounts(y, has_y, y_at, weight, i, n - i, share, even)
                    put(grad, to + i, fma(load(v, scratch, i), p, a * by), n - i)
                if t >= 0:
                    a_t = extra
                    if even:
                        a_t += even * (np.float64(weight[t]) if weight.shape[0] else 1.0)
                    rest = amount + extra - a_t
                    p_t = np.float64(lane(load(v, scratch, t), 0)) / s
                    set_at(grad, to + t, (a_t * math.expm1(-one) + rest * p_t) / divisor)
        done(team, end - block * step)
        block = claim(team, me, block, blocks)
    linger(team, me, heard)
