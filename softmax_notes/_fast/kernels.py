"""The loops of `softmax_notes.fast`, compiled by Numba on their first call and then cached.

Every score goes through `exponential`. The scores of a slice are shifted not by their maximum m
but by the multiple K ln 2 next to it: then the shift is part of the range reduction,
x - K ln 2 = (k - K) ln 2 + r, and costs neither an operation nor a rounding. Where m is so large
that K would not fit, x - m is exact for every score that counts. Exponents are kept too large by
a constant, so that no term is subnormal before the last multiplication.

Sums run over blocks of 16 vectors, or of 8 rows where each lane is a slice, whose results are
added with their rounding errors; what is added to what depends on the length of a slice alone.
So a result does not depend on how many threads there are.
"""

# mypy: disable-error-code="no-untyped-call, no-untyped-def, misc, call-arg, var-annotated"
from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core.caching import FunctionCache

from softmax_notes._fast.vectors import (
    constant,
    data,
    fence,
    fetch_add,
    fill,
    first_lanes,
    fma,
    four_added,
    four_largest,
    hold,
    lane,
    lanes,
    larger,
    largest,
    load,
    load_part,
    misaligned,
    polynomial,
    prefetch,
    read,
    scalar,
    store,
    store_part,
    stream,
    times_power_of_two,
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
BLOCK = 4096  # elements that a thread takes at a time
ALONE_UP_TO = 16384  # elements that are not worth a second thread
SHORT = 8  # vectors: rows up to here are done four at a time
DEEP = 128  # vectors: in rows up to here the maximum is sought two rows ahead
LATE = 65536  # bytes: rows up to here are written while the next one is summed up
PANEL = 32768  # elements of columns that are copied side by side
CHUNK = 32768  # elements of a piece of a long row
LONG = 131072  # a row longer than this is read in pieces

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
inline: Any = numba.njit(forceinline=True, **_OPTIONS)


def sources(folder: Path) -> str:
    """Give a number that another one takes the place of when what is compiled changes."""
    files = [*sorted(folder.glob("*.py")), folder.parent / "exp_approximation.py"]
    return sha256(b"".join(file.read_bytes() for file in files if file.exists())).hexdigest()


SOURCES = sources(Path(__file__).parent)


class _Cache(FunctionCache):
    """Code kept on disk; Numba by itself looks only at the file of the function for a change."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), SOURCES)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on the first call; keep the code on disk if there is a place to write."""
    dispatcher: Any = numba.njit(**_OPTIONS)(function)
    with suppress(RuntimeError):  # neither the package's folder nor the user's cache is writable
        dispatcher._cache = _Cache(function)
    return dispatcher


# --- work that is shared out between threads


@inline
def claim(team, me, block, blocks):
    """Take the next block; give ``blocks`` if there is none.

    Each thread has a share of its own, so that at the next call with the same arrays it meets
    what its cache holds, and helps with the shares of the others when it has done that.
    """
    threads = team.threads
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
    if team.threads > 0:
        fence()
        fetch_add(team.state, 0, count)


class Team(NamedTuple):
    """What the threads of a call share."""

    state: Any  # what is done, and the next block of each thread
    threads: int  # 0 for one thread alone, which has no state
    bell: Any  # strokes that call the helpers


@inline
def team_of(state, bell):
    """Put it together."""
    return Team(data(state), state.shape[0] // LINE - 1, data(bell))


@kernel
def wait(state, units, patience):
    """Watch for the others to be done, for a while; tell whether they are."""
    while read(state, 0) < units and patience > 0:
        patience -= 1
    return read(state, 0) >= units


@inline
def strokes(bell):
    """Give how often it has rung; a call in one thread has no bell."""
    return read(data(bell), 0) if bell.shape[0] else 0


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
    magic: Any  # rounds k to a whole number, and leaves k + b - K in the low bits


@inline
def shift_of(m):
    """Choose the shift of each lane, given its maximum; one that is no number makes NaN."""
    start = where_less(m, constant(m, "exact"), fill(m, 0.0), m)
    magic = constant(m, "magic")
    k = fma(m - start, constant(m, "inverse_ln2"), magic) - magic
    lowest = constant(m, "floor") - k * constant(m, "minus_high")
    return Shift(start, lowest, constant(m, "raised") - k)


@inline
def raised(x, shift):
    """Give 2^b e^(x - shift), with the same b for all, and a number that is NaN if x is.

    The first is then no matter what: its exponent is made by adding integers.
    """
    t = larger(shift.lowest, x - shift.start)
    shifted = fma(t, constant(x, "inverse_ln2"), shift.magic)
    k = shifted - shift.magic
    p = polynomial(fma(k, constant(x, "minus_low"), fma(k, constant(x, "minus_high"), t)))
    return times_power_of_two(p, shifted), p


@inline
def exponential(x, shift):
    """Give 2^b e^(x - shift), with the same b for all; NaN if x is NaN."""
    e, p = raised(x, shift)
    return where_equal(p, p, e, p)


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


class Earlier(NamedTuple):
    """The row before, which is written while the next one is summed up."""

    is_there: bool
    scale: bool  # multiply by ``by``; else subtract ``top`` and then ``by``
    streamed: bool  # past the caches
    out: Any
    to: int
    src: Any
    at: int
    by: Any
    top: Any


@inline
def final(y, earlier):
    """Turn what is kept of a row into its result."""
    return y * earlier.by if earlier.scale else y - earlier.top - earlier.by


@inline
def begin(earlier, n):
    """Write what comes before the first whole line of the cache; give how much that is."""
    if not earlier.streamed:
        return 0
    i = min(misaligned(earlier.out, earlier.to), n)
    y = final(load_part(earlier.by, earlier.src, earlier.at, i), earlier)
    store_part(earlier.out, earlier.to, y, i)
    return i


@inline
def go_on(earlier, i):
    """Write four vectors from element i on."""
    v, w, at, to = earlier.by, lanes(earlier.by), earlier.at + i, earlier.to + i
    a, b = load(v, earlier.src, at), load(v, earlier.src, at + w)
    c, d = load(v, earlier.src, at + 2 * w), load(v, earlier.src, at + 3 * w)
    if earlier.scale:
        a, b, c, d = a * earlier.by, b * earlier.by, c * earlier.by, d * earlier.by
    else:
        a, b = a - earlier.top - earlier.by, b - earlier.top - earlier.by
        c, d = c - earlier.top - earlier.by, d - earlier.top - earlier.by
    if earlier.streamed:
        stream(earlier.out, to, a)
        stream(earlier.out, to + w, b)
        stream(earlier.out, to + 2 * w, c)
        stream(earlier.out, to + 3 * w, d)
    else:
        store(earlier.out, to, a)
        store(earlier.out, to + w, b)
        store(earlier.out, to + 2 * w, c)
        store(earlier.out, to + 3 * w, d)


@inline
def finish(earlier, i, n):
    """Write the rest of the row, from element i on."""
    v, w = earlier.by, lanes(earlier.by)
    while i + w <= n:
        y = final(load(v, earlier.src, earlier.at + i), earlier)
        if earlier.streamed:
            stream(earlier.out, earlier.to + i, y)
        else:
            store(earlier.out, earlier.to + i, y)
        i += w
    if i < n:
        y = final(load_part(v, earlier.src, earlier.at + i, n - i), earlier)
        store_part(earlier.out, earlier.to + i, y, n - i)


@inline
def terms(x, at, n, shift, keep, kept, new, ahead, earlier):
    """Add the exponentials of a row; keep them from element ``new`` of ``kept`` on, if asked.

    On the way two other rows of n elements are served: one that is done up to its writing is
    written, and the maximum is found of the one from element ``ahead`` on. So the processor
    multiplies while it waits for memory.
    """
    v = vector_of(x)
    w = lanes(v)
    zero, lowest = fill(v, 0.0), fill(v, -np.inf)
    high, low, part, undefined, top = zero, zero, zero, zero, lowest
    behind = earlier.is_there
    j = begin(earlier, n) if behind else 0
    i = 0
    while i + 4 * w <= n:
        e, e_nan = raised(load(v, x, at + i), shift)
        f, f_nan = raised(load(v, x, at + i + w), shift)
        g, g_nan = raised(load(v, x, at + i + 2 * w), shift)
        h, h_nan = raised(load(v, x, at + i + 3 * w), shift)
        undefined = undefined + ((e_nan + f_nan) + (g_nan + h_nan))
        part = part + ((e + f) + (g + h))
        if keep:
            store(kept, new + i, e)
            store(kept, new + i + w, f)
            store(kept, new + i + 2 * w, g)
            store(kept, new + i + 3 * w, h)
        prefetch(x, ahead + i + FAR * w)
        prefetch(x, ahead + i + (FAR + 1) * w)
        prefetch(x, ahead + i + (FAR + 2) * w)
        prefetch(x, ahead + i + (FAR + 3) * w)
        top = larger(load(v, x, ahead + i), top)
        top = larger(load(v, x, ahead + i + w), top)
        top = larger(load(v, x, ahead + i + 2 * w), top)
        top = larger(load(v, x, ahead + i + 3 * w), top)
        if behind and j + 4 * w <= n:
            go_on(earlier, j)
            j += 4 * w
        i += 4 * w
        if i % (16 * w) == 0:
            high, low = flush(high, low, part)
            part = zero
    while i < n:
        left = n - i
        e, e_nan = raised(get(lowest, x, at + i, left), shift)
        top = larger(get(lowest, x, ahead + i, left), top)
        if keep:
            put(kept, new + i, e, left)
        undefined = undefined + e_nan
        part = part + e
        i += w
    if behind:
        finish(earlier, j, n)
    high, low = flush(high, low, part)
    return total(high, low + (undefined - undefined)), largest(top)


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
        if i % (8 * w) == 0:
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


class Four(NamedTuple):
    """What four short rows come to; a quarter of each vector is for one of them."""

    top: Any  # the maximum
    rest: Any  # the sum of the other exponentials, relative to the maximum's; 0 if not asked for
    by: Any  # 1 over the sum of all exponentials


@inline
def share_of(v, j):
    """Give the quarter of row j in every lane."""
    return fill(v, lane(v, j * (lanes(v) // 4)))


@inline
def share_of_shift(shift, j):
    """Give the shift of row j."""
    return Shift(share_of(shift.start, j), share_of(shift.lowest, j), share_of(shift.magic, j))


@inline
def short_terms(x, at, n, i, shift, top, whole, ties, log, keep, kept, new):
    """Add a vector of a row to its sum.

    Where logarithms are wanted, all maxima are left out of it, and counted.
    """
    y = get(fill(top, -np.inf), x, at + i, n - i)
    e, p = raised(y, shift)
    if keep:
        store(kept, new + i, e)
    if log:
        # NaN is not equal to the maximum, and p is NaN then: else it adds nothing.
        whole = whole + where_equal(y, top, fill(top, 0.0), e)
        return whole, ties + where_equal(y, top, fill(top, 1.0), p - p)
    return whole + e, ties + (p - p)


@inline
def four_short(x, a, b, c, d, n, log, keep, kept):
    """Sum up four rows of a few vectors each, from elements a to d on.

    Their exponentials are kept, if asked, one row after the other. Each step of one row has to
    wait for the step before it; four rows together do not.
    """
    v = vector_of(x)
    w = lanes(v)
    zero, one, lowest = fill(v, 0.0), fill(v, 1.0), fill(v, -np.inf)
    p, q, r, s = lowest, lowest, lowest, lowest
    for i in range(0, n, w):
        p = larger(get(lowest, x, a + i, n - i), p)
        q = larger(get(lowest, x, b + i, n - i), q)
        r = larger(get(lowest, x, c + i, n - i), r)
        s = larger(get(lowest, x, d + i, n - i), s)
    top = four_largest(p, q, r, s)
    shift = shift_of(top)
    p_shift, q_shift = share_of_shift(shift, 0), share_of_shift(shift, 1)
    r_shift, s_shift = share_of_shift(shift, 2), share_of_shift(shift, 3)
    p_top, q_top, r_top, s_top = zero, zero, zero, zero
    if log:
        p_top, q_top = share_of(top, 0), share_of(top, 1)
        r_top, s_top = share_of(top, 2), share_of(top, 3)
    p, q, r, s = zero, zero, zero, zero
    p_ties, q_ties, r_ties, s_ties = zero, zero, zero, zero
    z = SHORT * w
    for i in range(0, n, w):
        p, p_ties = short_terms(x, a, n, i, p_shift, p_top, p, p_ties, log, keep, kept, 0)
        q, q_ties = short_terms(x, b, n, i, q_shift, q_top, q, q_ties, log, keep, kept, z)
        r, r_ties = short_terms(x, c, n, i, r_shift, r_top, r, r_ties, log, keep, kept, 2 * z)
        s, s_ties = short_terms(x, d, n, i, s_shift, s_top, s, s_ties, log, keep, kept, 3 * z)
    if not log:
        whole = four_added(p + p_ties, q + q_ties, r + r_ties, s + s_ties)
        return Four(top, zero, one / whole)
    first = exponential(top, shift)
    # Every maximum but one is part of the rest.
    ties = four_added(p_ties, q_ties, r_ties, s_ties) - one
    rest = four_added(p, q, r, s) / first + ties
    return Four(top, rest, one / ((rest + one) * first))


@inline
def short_row(x, at, n, out, to, kind, four, j, kept):
    """Write the result of row j of four."""
    v = four.top
    w = lanes(v)
    if kind == SOFTMAX:
        factor, src = share_of(four.by, j), j * SHORT * w
        for i in range(0, n, w):
            put(out, to + i, load(v, kept, src + i) * factor, n - i)
        return
    place = j * (w // 4)
    m, rest = lane(four.top, place), np.float64(lane(four.rest, place))
    if kind == LOGSUMEXP:
        set_at(out, to, log_total(x, at, n, m, rest))
        return
    top, log_s = share_of(four.top, j), fill(v, np.log1p(rest))
    for i in range(0, n, w):
        put(out, to + i, get(v, x, at + i, n - i) - top - log_s, n - i)


@inline
def log_total(x, at, n, m, rest):
    """Give m + log1p(rest); an infinite m decides alone, unless there is NaN."""
    if abs(m) < np.inf:
        return m + np.log1p(rest)
    return np.nan if has_nan(x, at, n) else np.float64(m)


@inline
def short_rows(x, n, x_step, out, out_step, kind, first, end, kept):
    """Do rows of a few vectors, four at a time; where none is left, the last one again."""
    for i in range(first, end, 4):
        j, k, z = min(i + 1, end - 1), min(i + 2, end - 1), min(i + 3, end - 1)
        a, b, c, d = i * x_step, j * x_step, k * x_step, z * x_step
        four = four_short(x, a, b, c, d, n, kind != SOFTMAX, kind == SOFTMAX, kept)
        short_row(x, a, n, out, i * out_step, kind, four, 0, kept)
        if j > i:
            short_row(x, b, n, out, j * out_step, kind, four, 1, kept)
        if k > j:
            short_row(x, c, n, out, k * out_step, kind, four, 2, kept)
        if z > k:
            short_row(x, d, n, out, z * out_step, kind, four, 3, kept)


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
def step_of(a):
    """Give how many elements one row is from the next."""
    return a.strides[0] // a.itemsize


@inline
def next_row(team, me, row, block, step, blocks, count):
    """Give the row after this one: of this block, or of another one that is claimed for it."""
    row += 1
    if row < min(count, (block + 1) * step):
        return row, block
    block = claim(team, me, block, blocks)
    return block * step, block


@kernel
def rows(x, out, kind, streamed, state, bell, me):
    """Do whole rows: x (N, n), out (N, n) or, for logsumexp, (N, 1)."""
    team, heard = team_of(state, bell), strokes(bell)
    count, n = x.shape
    src, dst, x_step, out_step = data(x), data(out), step_of(x), step_of(out)
    v = vector_of(x)
    w = lanes(v)
    step = max(1, BLOCK // max(n, 1))
    blocks = (count + step - 1) // step
    block = claim(team, me, -1, blocks)
    if n <= SHORT * w:
        room = np.empty(4 * SHORT * w, x.dtype)
        while block < blocks:
            end = min(count, (block + 1) * step)
            short_rows(src, n, x_step, dst, out_step, kind, block * step, end, data(room))
            done(team, end - block * step)
            block = claim(team, me, block, blocks)
        hold(room)
        linger(team, me, heard)
        return
    size = (n // w + 1) * w
    row = block * step
    late = n * x.itemsize <= LATE
    # What goes past the caches must not be there before it is done.
    aside = streamed and kind == SOFTMAX
    room = np.empty(2 * size + w if aside else w, x.dtype)
    kept = data(room) if aside else dst
    new = misaligned(kept, 0) if aside else row * out_step
    other = new + size
    deep = n <= DEEP * w
    lowest = lane(v, 0)
    m = maximum(src, row * x_step, n) if row < count else lowest
    second, block = next_row(team, me, row, block, step, blocks, count)
    third, second_m = second, lowest
    if deep:
        second_m = maximum(src, second * x_step, n) if second < count else lowest
        third, block = next_row(team, me, second, block, step, blocks, count)
    earlier = Earlier(False, kind == SOFTMAX, streamed, dst, 0, kept, 0, v, v)
    finished = 0
    while row < count:
        at = row * x_step
        ahead = min(third, count - 1) * x_step
        shift = shift_of(fill(v, m))
        to = row * out_step
        new = new if aside else to
        s, then = terms(src, at, n, shift, kind == SOFTMAX, kept, new, ahead, earlier)
        finished += earlier.is_there
        if kind == SOFTMAX:
            by = fill(v, 1.0 / s)
            earlier = Earlier(late, True, streamed, dst, to, kept, new, by, v)
            new, other = other, new
        elif kind == LOG_SOFTMAX:
            log_s = fill(v, np.log1p(excess(src, at, n, shift, m, s)))
            earlier = Earlier(late, False, streamed, dst, to, src, at, log_s, fill(v, m))
        else:
            out[row, 0] = log_total(src, at, n, m, excess(src, at, n, shift, m, s))
        if kind == LOGSUMEXP or not late:
            finished += 1
        if kind != LOGSUMEXP and not late:
            finish(earlier, begin(earlier, n), n)
        if finished >= step:
            done(team, finished)
            finished = 0
        m, row = (second_m, second) if deep else (then, third)
        second, second_m = third, then
        third, block = next_row(team, me, third, block, step, blocks, count)
    if earlier.is_there:
        finish(earlier, begin(earlier, n), n)
        finished += 1
    done(team, finished)
    hold(room)
    linger(team, me, heard)


# --- a row so long that threads share it: pieces, their merge, and the result piece by piece


@kernel
def pieces(x, parts, state, bell, me):
    """Sum up each piece of each row: parts (N, pieces, 4) holds m, K, e^-c and its rest.

    The last two are the sum of all exponentials and of those but one maximum's, both in units
    of 2^b e^c, with c the shift of the piece.
    """
    team, heard = team_of(state, bell), strokes(bell)
    n = x.shape[1]
    v, src, x_step = vector_of(x), data(x), step_of(x)
    blocks = parts.shape[0] * parts.shape[1]
    nothing = Earlier(False, True, False, src, 0, src, 0, v, v)
    block = claim(team, me, -1, blocks)
    m, known = lane(v, 0), False
    while block < blocks:
        row, piece = divmod(block, parts.shape[1])
        size = min(CHUNK, n - piece * CHUNK)
        at = row * x_step + piece * CHUNK
        m = m if known else maximum(src, at, size)
        following = claim(team, me, block, blocks)
        next_row, next_piece = divmod(min(following, blocks - 1), parts.shape[1])
        next_size = min(CHUNK, n - next_piece * CHUNK)
        ahead = next_row * x_step + next_piece * CHUNK
        shift = shift_of(fill(v, m))
        then = m
        part = parts[row, piece]
        part[0] = m
        part[1] = whole(fill(v, m))
        if abs(m) < np.inf:
            place = ahead if next_size == size else at
            s, then = terms(src, at, size, shift, False, src, 0, place, nothing)
            first = np.float64(lane(exponential(fill(v, m), shift), 0))
            part[2] = s
            part[3] = excess(src, at, size, shift, m, s) * first
        else:
            part[2] = part[3] = np.nan if m > 0 or has_nan(src, at, size) else 0.0
            if m > 0 and not has_nan(src, at, size):
                part[2] = np.inf
        known = abs(m) < np.inf and next_size == size
        m, block = then, following
        done(team, 1)
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


@inline
def spread_out(x, at, n, shift, out, to, by, streamed):
    """Write the exponentials of a piece, times a number."""
    v = by
    w = lanes(v)
    i = 0
    if streamed:
        i = min(misaligned(out, to), n)
        e, _ = raised(load_part(v, x, at, i), shift)
        store_part(out, to, e * by, i)
        while i + 4 * w <= n:
            e, _ = raised(load(v, x, at + i), shift)
            f, _ = raised(load(v, x, at + i + w), shift)
            g, _ = raised(load(v, x, at + i + 2 * w), shift)
            h, _ = raised(load(v, x, at + i + 3 * w), shift)
            stream(out, to + i, e * by)
            stream(out, to + i + w, f * by)
            stream(out, to + i + 2 * w, g * by)
            stream(out, to + i + 3 * w, h * by)
            i += 4 * w
    while i < n:
        e, _ = raised(get(v, x, at + i, n - i), shift)
        put(out, to + i, e * by, n - i)
        i += w


@kernel
def spread(x, totals, out, kind, streamed, factor, state, bell, me):
    """Write softmax, times a factor for each row, or log_softmax of long rows, in pieces."""
    team, heard = team_of(state, bell), strokes(bell)
    count, n = x.shape
    v, src, dst = vector_of(x), data(x), data(out)
    each = (n + CHUNK - 1) // CHUNK
    block = claim(team, me, -1, count * each)
    while block < count * each:
        row, piece = divmod(block, each)
        size = min(CHUNK, n - piece * CHUNK)
        at = row * step_of(x) + piece * CHUNK
        to = row * step_of(out) + piece * CHUNK
        m = totals[row, 0]
        if kind == SOFTMAX:
            by = fill(v, factor[row] / totals[row, 1])
            spread_out(src, at, size, shift_of(fill(v, m)), dst, to, by, streamed)
        else:
            log_s = fill(v, np.log1p(totals[row, 2]))
            whole = Earlier(True, False, streamed, dst, to, src, at, log_s, fill(v, m))
            finish(whole, begin(whole, size), size)
        done(team, 1)
        block = claim(team, me, block, count * each)
    linger(team, me, heard)


# --- slices that are not contiguous: x (outer, n, inner), and each lane is a slice of its own


@inline
def column_terms(panel, at, step, n, shift, keep):
    """Add the exponentials of each lane of a column of vectors; replace it by them, if asked."""
    zero = fill(vector_of(panel), 0.0)
    high, low, s, undefined = zero, zero, zero, zero
    for i in range(n):
        e, e_nan = raised(load(zero, panel, at + i * step), shift)
        if keep:
            store(panel, at + i * step, e)
        s, undefined = s + e, undefined + e_nan
        if i % 8 == 7:
            high, low = flush(high, low, s)
            s = zero
    return flush(high, low + (undefined - undefined), s)


@inline
def column_others(panel, at, step, n, shift, m):
    """Add those that are not the maximum of their lane."""
    zero = fill(vector_of(panel), 0.0)
    high, low, s = zero, zero, zero
    for i in range(n):
        y = load(zero, panel, at + i * step)
        s = s + where_equal(y, m, zero, exponential(y, shift))
        if i % 8 == 7:
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
    team, heard = team_of(state, bell), strokes(bell)
    outer, n, inner = x.shape
    v = vector_of(x)
    w = lanes(v)
    wide = (inner + w - 1) // w
    width = panel_width(n, wide, w)
    each = (wide + width - 1) // width
    room = np.empty((n + 3) * width * w, x.dtype)
    src, dst, panel = data(x), data(out), data(room)
    aside = misaligned(panel, 0)
    step, tops = width * w, aside + n * width * w
    factors = tops + width * w
    x_step, out_step = x.strides[1] // x.itemsize, out.strides[1] // out.itemsize
    aligned = streamed and misaligned(dst, 0) == 0 and out_step % w == 0
    block = claim(team, me, -1, outer * each)
    while block < outer * each:
        row, place = divmod(block, each)
        start = place * width
        size = min(width, wide - start)
        at, to = row * step_of(x) + start * w, row * step_of(out) + start * w
        for j in range(size):
            store(panel, tops + j * w, fill(v, -np.inf))
        for i in range(n):
            for j in range(size):
                y = get(fill(v, 0.0), src, at + i * x_step + j * w, inner - (start + j) * w)
                store(panel, aside + i * step + j * w, y)
                store(panel, tops + j * w, larger(y, load(v, panel, tops + j * w)))
        for j in range(size):
            m = load(v, panel, tops + j * w)
            shift = shift_of(m)
            high, low = column_terms(panel, aside + j * w, step, n, shift, kind == SOFTMAX)
            if kind == SOFTMAX:
                store(panel, factors + j * w, fill(v, 1.0) / (high + low))
                continue
            log_s = column_log(panel, aside + j * w, step, n, shift, m, high, low)
            if kind == LOGSUMEXP:
                y = column_logsumexp(panel, aside + j * w, step, n, m, log_s)
                put(dst, to + j * w, y, inner - (start + j) * w)
            else:
                store(panel, factors + j * w, log_s)
        for i in range(n if kind != LOGSUMEXP else 0):
            for j in range(size):
                y = load(v, panel, aside + i * step + j * w)
                factor = load(v, panel, factors + j * w)
                y = y * factor if kind == SOFTMAX else y - load(v, panel, tops + j * w) - factor
                if aligned:
                    stream(dst, to + i * out_step + j * w, y)
                else:
                    put(dst, to + i * out_step + j * w, y, inner - (start + j) * w)
        done(team, 1)
        block = claim(team, me, block, outer * each)
    hold(room)
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


def entry_of(function: Any, args: tuple[Any, ...]) -> Any:
    """Give a kernel as compiled for the types of args: it is called without asking for them."""
    kinds = tuple(numba.typeof(arg) for arg in args)
    function.compile(kinds)
    return function.overloads[kinds].entry_point


@inline
def hard_gradient(e, rest, by, behind):
    """Give p - 1 of the target, given 1/S, and how far it is behind the maximum.

    Where it is the maximum, that is minus the share of the others, and nothing cancels. Where it
    is not, p is 1/2 at most.
    """
    return -rest / (1.0 + rest) if behind == 0.0 else e * by - 1.0


@inline
def hard_loss(x, at, m, log_s, t):
    """Give -log p of one class; nothing cancels, for both terms are at least 0."""
    y = np.float64(lane(load_part(vector_of(x), x, at + t, 1), 0))
    return (np.float64(m) - y) + log_s


@inline
def set_at(a, i, value):
    """Write one number."""
    store_part(a, i, fill(vector_of(a), value), 1)


@inline
def weighted(loss, factor):
    """Give the product; an infinite loss of no weight is 0."""
    return factor * loss if factor or np.isnan(loss) else 0.0


class Task(NamedTuple):
    """What is asked for beside the scores and the targets."""

    weight: Any
    weighted: bool
    ignored: int
    skip: bool  # targets equal to ``ignored``
    divisor: float
    want: bool  # the gradient


@inline
def short_loss(x, n, at, grad, to, four, j, kept, t, task):
    """Give the loss of row j of four, and write its gradient."""
    v = four.top
    w = lanes(v)
    if task.skip and t == task.ignored:
        if task.want:
            clear(grad, to, n)
        return 0.0
    place = j * (w // 4)
    factor = np.float64(task.weight[t]) if task.weighted else 1.0
    m, rest = np.float64(lane(v, place)), np.float64(lane(four.rest, place))
    behind = m - x[at + t]
    one = behind + np.log1p(rest)
    if task.want:
        by, amount = np.float64(lane(four.by, place)), factor / task.divisor
        scale, src = fill(v, by * amount), j * SHORT * w
        for i in range(0, n, w):
            put(grad, to + i, load(v, kept, src + i) * scale, n - i)
        grad[to + t] = hard_gradient(kept[src + t], rest, by, behind) * amount
    return weighted_loss(one, factor)


@inline
def short_losses(x, n, x_step, target, loss, grad, task, first, end, kept):
    """Do rows of a few vectors, four at a time; where none is left, the last one again."""
    for i in range(first, end, 4):
        j, k, z = min(i + 1, end - 1), min(i + 2, end - 1), min(i + 3, end - 1)
        a, b, c, d = i * x_step, j * x_step, k * x_step, z * x_step
        four = four_short(x, a, b, c, d, n, True, task.want, kept)
        loss[i] = short_loss(x, n, a, grad, i * n, four, 0, kept, target[i], task)
        if j > i:
            loss[j] = short_loss(x, n, b, grad, j * n, four, 1, kept, target[j], task)
        if k > j:
            loss[k] = short_loss(x, n, c, grad, k * n, four, 2, kept, target[k], task)
        if z > k:
            loss[z] = short_loss(x, n, d, grad, z * n, four, 3, kept, target[z], task)


@inline
def weighted_loss(loss, factor):
    """Give the product; an infinite loss of no weight is 0."""
    return factor * loss if factor or np.isnan(loss) else 0.0


@kernel
def losses(x, target, weight, ignored, skip, divisor, loss, grad, want, streamed, state, bell, me):
    """Give each row's loss against a class index, and the gradient of their sum / divisor."""
    team, heard = team_of(state, bell), strokes(bell)
    count, n = x.shape
    src, x_step, targets, results, dst = data(x), step_of(x), data(target), data(loss), data(grad)
    task = Task(data(weight), weight.shape[0] > 0, ignored, skip, divisor, want)
    v = vector_of(x)
    w = lanes(v)
    step = max(1, BLOCK // max(n, 1))
    blocks = (count + step - 1) // step
    block = claim(team, me, -1, blocks)
    if n <= SHORT * w:
        room = np.empty(4 * SHORT * w, x.dtype)
        while block < blocks:
            end = min(count, (block + 1) * step)
            short_losses(src, n, x_step, targets, results, dst, task, block * step, end, data(room))
            done(team, end - block * step)
            block = claim(team, me, block, blocks)
        hold(room)
        linger(team, me, heard)
        return
    size = (n // w + 1) * w
    row = block * step
    late = n * x.itemsize <= LATE
    aside = streamed and want
    room = np.empty(2 * size + w if aside else w, x.dtype)
    kept = data(room) if aside else dst
    new = misaligned(kept, 0) if aside else row * n
    other = new + size
    deep = n <= DEEP * w
    lowest = lane(v, 0)
    m = maximum(src, row * x_step, n) if row < count else lowest
    second, block = next_row(team, me, row, block, step, blocks, count)
    third, second_m = second, lowest
    if deep:
        second_m = maximum(src, second * x_step, n) if second < count else lowest
        third, block = next_row(team, me, second, block, step, blocks, count)
    earlier = Earlier(False, True, streamed, dst, 0, kept, 0, v, v)
    finished = 0
    while row < count:
        at, t = row * x_step, targets[row]
        ahead = min(third, count - 1) * x_step
        shift = shift_of(fill(v, m))
        new = new if aside else row * n
        s, then = terms(src, at, n, shift, want, kept, new, ahead, earlier)
        finished += earlier.is_there or not (want and late)
        scale = 0.0
        if skip and t == ignored:
            results[row] = 0.0
            if want:
                clear(kept, new, n)
        else:
            factor = np.float64(task.weight[t]) if task.weighted else 1.0
            behind, rest = np.float64(m) - src[at + t], excess(src, at, n, shift, m, s)
            results[row] = weighted_loss(behind + np.log1p(rest), factor)
            scale = factor / divisor / s
            if want:  # times s, for all of the row is multiplied by the scale
                kept[new + t] = hard_gradient(kept[new + t], rest, 1.0 / s, behind) * s
        if want:
            earlier = Earlier(late, True, streamed, dst, row * n, kept, new, fill(v, scale), v)
            new, other = other, new
            if not late:
                finish(earlier, begin(earlier, n), n)
        if finished >= step:
            done(team, finished)
            finished = 0
        m, row = (second_m, second) if deep else (then, third)
        second, second_m = third, then
        third, block = next_row(team, me, third, block, step, blocks, count)
    if earlier.is_there:
        finish(earlier, begin(earlier, n), n)
        finished += 1
    done(team, finished)
    hold(room)
    linger(team, me, heard)


@inline
def clear(a, to, n):
    """Write zeros."""
    v = vector_of(a)
    for i in range(0, n, lanes(v)):
        put(a, to + i, v, n - i)


@inline
def amounts(y, has_y, at, weight, weighted, i, count, share, spread_evenly):
    """Give the target in each class: (share y + spread_evenly) w."""
    v = vector_of(y)
    a = fill(v, spread_evenly)
    if has_y:
        a = fma(get(v, y, at + i, count), fill(v, share), a)
    return a * get(v, weight, i, count) if weighted else a


@kernel
def soft_losses(
    x, y, has_y, target, ignored, skip, weight, share, even, divisor, loss, grad, want,
    state, bell, me,
):  # fmt: skip
    """Do the same for targets in every class: probabilities y, or smoothed class indices."""
    team, heard = team_of(state, bell), strokes(bell)
    count, n = x.shape
    src, ys, dst, weights = data(x), data(y), data(grad), data(weight)
    weighted = weight.shape[0] > 0
    v = vector_of(x)
    w = lanes(v)
    zero = fill(v, 0.0)
    step = max(1, BLOCK // max(n, 1))
    blocks = (count + step - 1) // step
    room = np.empty(n + w, x.dtype)
    scratch = data(room)
    nothing = Earlier(False, True, False, scratch, 0, scratch, 0, zero, zero)
    block = claim(team, me, -1, blocks)
    while block < blocks:
        end = min(count, (block + 1) * step)
        for row in range(block * step, end):
            at, to, y_at = row * step_of(x), row * step_of(grad), row * step_of(y)
            t = np.int64(-1) if has_y else target[row]
            if not has_y and skip and t == ignored:
                loss[row] = 0.0
                if want:
                    clear(dst, to, n)
                continue
            m = maximum(src, at, n)
            top = fill(v, m)
            shift = shift_of(top)
            s, _ = terms(src, at, n, shift, True, scratch, 0, at, nothing)
            log_s = np.log1p(excess(src, at, n, shift, m, s))
            high, low, far_high, far_low = zero, zero, zero, zero
            for i in range(0, n, w):
                a = amounts(ys, has_y, y_at, weights, weighted, i, n - i, share, even)
                a = a if i + w <= n else first_lanes(a, n - i)
                high, low = flush(high, low, a)
                # A class that is no part of the target adds 0, not 0 · inf.
                gap = where_equal(a, zero, zero, top - get(top, src, at + i, n - i))
                far_high, far_low = flush(far_high, far_low, a * gap)
            # A gap that is infinite makes the compensation NaN.
            far = total(far_high, far_low)
            far = np.inf if np.isnan(far) and abs(m) < np.inf and s == s else far
            extra, one = 0.0, 0.0
            if t >= 0:
                extra = share * (np.float64(weight[t]) if weighted else 1.0)
                one = hard_loss(src, at, m, log_s, t)
            amount = total(high, low)
            loss[row] = far + amount * log_s + (extra * one if extra else 0.0)
            if want:
                p = fill(v, (amount + extra) / divisor / s)
                by = fill(v, -1.0 / divisor)
                for i in range(0, n, w):
                    a = amounts(ys, has_y, y_at, weights, weighted, i, n - i, share, even)
                    put(dst, to + i, fma(load(v, scratch, i), p, a * by), n - i)
                if t >= 0:
                    a_t = extra
                    if even:
                        a_t += even * (np.float64(weight[t]) if weighted else 1.0)
                    rest = amount + extra - a_t
                    p_t = np.float64(lane(load(v, scratch, t), 0)) / s
                    set_at(dst, to + t, (a_t * math.expm1(-one) + rest * p_t) / divisor)
        done(team, end - block * step)
        block = claim(team, me, block, blocks)
    hold(room)
    linger(team, me, heard)
