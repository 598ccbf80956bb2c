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
    any_less,
    apart,
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
    last_lanes,
    load,
    load_part,
    misaligned,
    polynomial,
    power_of_two,
    prefetch,
    read,
    scalar,
    store,
    store_part,
    stream,
    total,
    vector_of,
    where_equal,
    where_less,
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
EIGHT = 8  # rows of columns that are added before rounding errors are looked after
COUNTED = 2**20  # rows after which columns count anew: float32 counts no farther than 2^24
TILE = 2**18  # bytes of columns that are to be found in a cache when they are read again
NARROW, WIDE = 1024, 4096  # bytes of a row of these columns, at the least and at the most
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
    magic: Any  # rounds k to a whole number, and leaves the exponent k - K + b in the low bits


@inline
def shift_of(m):
    """Choose the shift of each lane, given its maximum; one that is no number makes NaN."""
    start = where_less(m, constant(m, "exact"), fill(m, 0.0), m)
    magic = constant(m, "magic")
    k = fma(m - start, constant(m, "inverse_ln2"), magic) - magic
    lowest = constant(m, "floor") - k * constant(m, "minus_high")
    return Shift(start, lowest, constant(m, "raised") - k)


@inline
def exponential(x, shift):
    """Give 2^b e^(x - shift), with the same b for all; NaN if x is NaN."""
    t = larger(shift.lowest, x - shift.start)
    shifted = fma(t, constant(x, "inverse_ln2"), shift.magic)
    k = shifted - shift.magic
    p = polynomial(fma(k, constant(x, "minus_low"), fma(k, constant(x, "minus_high"), t)))
    return p * power_of_two(shifted)


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
    """Write the rest of the row, from element i on.

    The last vector is written whole, with some of what is there already, which is read before it
    changes: processors without AVX-512 take long to write a part of one.
    """
    v, w = earlier.by, lanes(earlier.by)
    whole = i + w <= n and not earlier.streamed
    last = load(v, earlier.src, earlier.at + n - w) if whole else v
    while i + w <= n:
        y = final(load(v, earlier.src, earlier.at + i), earlier)
        if earlier.streamed:
            stream(earlier.out, earlier.to + i, y)
        else:
            store(earlier.out, earlier.to + i, y)
        i += w
    if i < n and whole:
        store(earlier.out, earlier.to + n - w, final(last, earlier))
    elif i < n:
        y = final(load_part(v, earlier.src, earlier.at + i, n - i), earlier)
        store_part(earlier.out, earlier.to + i, y, n - i)


class Row(NamedTuple):
    """A row of n elements from ``at`` on, and the row from ``ahead`` on, for its maximum.

    The exponentials, if kept, begin at element ``new``.
    """

    x: Any
    at: int
    n: int
    shift: Any
    kept: Any
    new: int
    ahead: int


class Sums(NamedTuple):
    """What has been seen of a row, in each lane, and of the row ahead."""

    high: Any  # high + low is the sum of the blocks that are done
    low: Any
    part: Any  # the sum of the block that is not
    top: Any  # the maximum of the row ahead


@inline
def add_four(sums, row, i, keep):
    """Add the exponentials of four vectors, from element i of the row on."""
    part, top = sums.part, sums.top
    w, at, new, ahead = lanes(part), row.at + i, row.new + i, row.ahead + i
    e = exponential(load(part, row.x, at), row.shift)
    f = exponential(load(part, row.x, at + w), row.shift)
    two = e + f
    g = exponential(load(part, row.x, at + 2 * w), row.shift)
    h = exponential(load(part, row.x, at + 3 * w), row.shift)
    part = part + (two + (g + h))
    if keep:
        store(row.kept, new, e)
        store(row.kept, new + w, f)
        store(row.kept, new + 2 * w, g)
        store(row.kept, new + 3 * w, h)
    for k in range(4):
        prefetch(row.x, ahead + (FAR + k) * w)
        top = larger(load(part, row.x, ahead + k * w), top)
    return Sums(sums.high, sums.low, part, top)


@inline
def next_block(sums, i):
    """Begin a new block, if the one before element i has its 16 vectors."""
    if i % (16 * lanes(sums.part)) != 0:
        return sums
    high, low = flush(sums.high, sums.low, sums.part)
    return Sums(high, low, fill(sums.part, 0.0), sums.top)


@inline
def add_all(sums, row, i, keep):
    """Add all whole fours of vectors from element i on; give where they end."""
    w = lanes(sums.part)
    while i + 4 * w <= row.n:
        sums = add_four(sums, row, i, keep)
        i += 4 * w
        sums = next_block(sums, i)
    return sums, i


@inline
def add_and_write(sums, row, earlier, keep, streamed):
    """Do the same with the row before being written; give where that ends, too."""
    earlier = Earlier(True, keep, streamed, *earlier[3:])
    w = lanes(sums.part)
    i, j = 0, begin(earlier, row.n)
    while i + 4 * w <= row.n and j + 5 * w <= row.n:  # one vector is left for `finish`
        sums = add_four(sums, row, i, keep)
        go_on(earlier, j)
        i += 4 * w
        j += 4 * w
        sums = next_block(sums, i)
    sums, i = add_all(sums, row, i, keep)
    return sums, i, j


@inline
def terms(row, keep, earlier):
    """Give the sum of the exponentials of a row, which are kept if asked, and the maximum ahead.

    The row before, if there is one that waits for it, is written on the way. So the processor
    multiplies while it waits for memory.
    """
    v = vector_of(row.x)
    w = lanes(v)
    zero, lowest = fill(v, 0.0), fill(v, -np.inf)
    sums = Sums(zero, zero, zero, lowest)
    i, j, n = 0, 0, row.n
    # The last vector is one that is full, if there is one: see `finish`.
    last = load(v, row.x, row.at + n - w) if n >= w else load_part(lowest, row.x, row.at, n)
    # A loop for each case: a branch within one would take registers, of which some have only 16.
    if not earlier.is_there:
        sums, i = add_all(sums, row, 0, True) if keep else add_all(sums, row, 0, False)
    elif keep and earlier.streamed:
        sums, i, j = add_and_write(sums, row, earlier, True, True)
    elif keep:
        sums, i, j = add_and_write(sums, row, earlier, True, False)
    elif earlier.streamed:
        sums, i, j = add_and_write(sums, row, earlier, False, True)
    else:
        sums, i, j = add_and_write(sums, row, earlier, False, False)
    high, low, part, top = sums
    while i + w <= n:
        e = exponential(load(v, row.x, row.at + i), row.shift)
        top = larger(load(v, row.x, row.ahead + i), top)
        if keep:
            store(row.kept, row.new + i, e)
        part = part + e
        i += w
    if i < n:
        e = exponential(last, row.shift)
        if n >= w:
            top = larger(load(v, row.x, row.ahead + n - w), top)
            if keep:
                store(row.kept, row.new + n - w, e)
            e = last_lanes(e, n - i)
        else:
            top = larger(load_part(lowest, row.x, row.ahead, n), top)
            if keep:
                store_part(row.kept, row.new, e, n)
        part = part + e
    if earlier.is_there:
        finish(earlier, j, n)
    high, low = flush(high, low, part)
    return total(high, low), largest(top)


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
    e = exponential(y, shift)
    if keep:
        store(kept, new + i, e)
    if log:
        whole = whole + where_equal(y, top, fill(top, 0.0), e)
        return whole, ties + where_equal(y, top, fill(top, 1.0), fill(top, 0.0))
    return whole + e, ties


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
        whole = four_added(p, q, r, s)
        return Four(top, zero, one / whole)
    first = exponential(top, shift)
    # Every maximum but one is part of the rest.
    ties = four_added(p_ties, q_ties, r_ties, s_ties) - one
    rest = four_added(p, q, r, s) / first + ties
    return Four(top, rest, one / ((rest + one) * first))


@inline
def short_row(x, at, n, out, to, free, kind, four, j, kept):
    """Write the result of row j of four; what follows, up to ``free`` elements, is written later.

    So most vectors are written whole: some processors take long to write a part of one.
    """
    v = four.top
    w = lanes(v)
    if kind == SOFTMAX:
        factor, src = share_of(four.by, j), j * SHORT * w
        for i in range(0, n, w):
            put(out, to + i, load(v, kept, src + i) * factor, free - i)
        return
    place = j * (w // 4)
    m, rest = lane(four.top, place), np.float64(lane(four.rest, place))
    if kind == LOGSUMEXP:
        set_at(out, to, log_total(x, at, n, m, rest))
        return
    top, log_s = share_of(four.top, j), fill(v, np.log1p(rest))
    for i in range(0, n, w):
        put(out, to + i, get(v, x, at + i, n - i) - top - log_s, free - i)


@inline
def log_total(x, at, n, m, rest):
    """Give m + log1p(rest); an infinite m decides alone, unless there is NaN."""
    if abs(m) < np.inf:
        return m + np.log1p(rest)
    return np.nan if has_nan(x, at, n) else np.float64(m)


@inline
def short_rows(x, n, x_step, out, out_step, kind, first, end, kept):
    """Do rows of a few vectors, four at a time; where none is left, the last one again."""
    ahead, past = out_step == n and apart(x, out), end * out_step
    for i in range(first, end, 4):
        j, k, z = min(i + 1, end - 1), min(i + 2, end - 1), min(i + 3, end - 1)
        a, b, c, d = i * x_step, j * x_step, k * x_step, z * x_step
        four = four_short(x, a, b, c, d, n, kind != SOFTMAX, kind == SOFTMAX, kept)
        for row, at, place in ((i, a, 0), (j, b, 1), (k, c, 2), (z, d, 3)):
            if row == i + place:
                to = row * out_step
                free = past - to if ahead else n
                short_row(x, at, n, out, to, free, kind, four, place, kept)


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
        s, then = terms(Row(src, at, n, shift, kept, new, ahead), kind == SOFTMAX, earlier)
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
            s, then = terms(Row(src, at, size, shift, src, 0, place), False, nothing)
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
        e = exponential(load_part(v, x, at, i), shift)
        store_part(out, to, e * by, i)
        while i + 4 * w <= n:
            e = exponential(load(v, x, at + i), shift)
            f = exponential(load(v, x, at + i + w), shift)
            g = exponential(load(v, x, at + i + 2 * w), shift)
            h = exponential(load(v, x, at + i + 3 * w), shift)
            stream(out, to + i, e * by)
            stream(out, to + i + w, f * by)
            stream(out, to + i + 2 * w, g * by)
            stream(out, to + i + 3 * w, h * by)
            i += 4 * w
    while i < n:
        e = exponential(get(v, x, at + i, n - i), shift)
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


class Tile(NamedTuple):
    """Columns side by side, and room for what they come to: rows of numbers, one for each column.

    TOP is the maximum m; HIGH + LOW is the sum of the other exponentials with its rounding errors.
    TIES is how often m comes while they are added; in the end all but one are part of the sum, and
    FIRST, the exponential of m, has its place. HIGH is NaN if a score of the column is.
    """

    x: Any
    at: int  # the first score
    step: int  # elements from a row of scores to the next
    n: int
    columns: int
    room: Any
    width: int  # elements from a row of room to the next


TOP, HIGH, LOW, TIES = 0, 1, 2, 3
FIRST = TIES


@inline
def tile_of(block, inner, width):
    """Give where a block lies: which of the outer slices, its first column, and how many."""
    row, place = divmod(block, (inner + width - 1) // width)
    start = place * width
    return row, start, min(width, inner - start)


@inline
def told(tile, what, j):
    """Read what is known of the columns from j on."""
    return load(vector_of(tile.x), tile.room, what * tile.width + j)


@inline
def tell(tile, what, j, v):
    """Write it down."""
    store(tile.room, what * tile.width + j, v)


@inline
def near(m):
    """Give the size of a maximum below which K ln 2 is the shift, and one less."""
    return constant(m, "exact") - fill(m, 1.0)


@inline
def bounded(m):
    """Give m, or the least number near enough to 0 that K ln 2 is its shift."""
    return larger(fill(m, 0.0) - near(m), m)


@inline
def factor_of(k):
    """Give 2^k for whole numbers from 0 down; next to nothing where it is less than that."""
    return power_of_two(larger(constant(k, "least"), k) + constant(k, "zero"))


@inline
def moved(tile, j, old, top, shift):
    """Bring what was added up beside the maximum old to the shift of a larger one: 2^(K - K')."""
    zero = fill(old, 0.0)
    by = factor_of(shift.magic - shift_of(bounded(old)).magic)
    ties = told(tile, TIES, j)
    beside = where_equal(old, top, zero, ties * exponential(old, shift))
    high, low = flush(told(tile, HIGH, j) * by, told(tile, LOW, j) * by, beside)
    tell(tile, HIGH, j, high)
    tell(tile, LOW, j, low)
    tell(tile, TIES, j, where_equal(old, top, ties, zero))


@inline
def add_rows(tile, j, first, size, known):
    """Add some rows of a vector of columns; their maxima are looked for, if not known."""
    v = vector_of(tile.x)
    zero, one = fill(v, 0.0), fill(v, 1.0)
    at, left = tile.at + first * tile.step + j, tile.columns - j
    top = told(tile, TOP, j)
    shift = shift_of(top)
    if not known:
        old = top
        for i in range(size):
            top = larger(get(zero, tile.x, at + i * tile.step, left), top)
        shift = shift_of(bounded(top))
        if any_less(old, top):
            moved(tile, j, old, top, shift)
            tell(tile, TOP, j, top)
    s, ties = zero, told(tile, TIES, j)
    for i in range(size):
        y = get(zero, tile.x, at + i * tile.step, left)
        s = s + where_equal(y, top, zero, exponential(y, shift))
        ties = ties + where_equal(y, top, one, zero)
    high, low = flush(told(tile, HIGH, j), told(tile, LOW, j), s)
    tell(tile, HIGH, j, high)
    tell(tile, LOW, j, low)
    tell(tile, TIES, j, ties)


@inline
def fold(tile, j, known):
    """Add all maxima but one to the other exponentials; give the one."""
    top, ties = told(tile, TOP, j), told(tile, TIES, j)
    first = exponential(top, shift_of(top if known else bounded(top)))
    more = larger(ties - fill(top, 1.0), fill(top, 0.0))
    high, low = flush(told(tile, HIGH, j), told(tile, LOW, j), more * first)
    tell(tile, HIGH, j, high)
    tell(tile, LOW, j, low)
    tell(tile, TIES, j, ties - more)
    return first


@inline
def add_columns(tile, known):
    """Go once over all columns of a tile."""
    w = lanes(vector_of(tile.x))
    for start in range(0, tile.n, COUNTED):
        end = min(tile.n, start + COUNTED)
        for first in range(start, end, EIGHT):
            for j in range(0, tile.columns, w):
                add_rows(tile, j, first, min(EIGHT, end - first), known)
        for j in range(0, tile.columns, w):
            fold(tile, j, known)


@inline
def start_sums(tile, j):
    """Begin to add, with the maxima that are there."""
    for what in (HIGH, LOW, TIES):
        tell(tile, what, j, vector_of(tile.x))


@inline
def sum_columns(tile):
    """Find what columns come to: see `Tile`.

    One reading is enough where K ln 2 is the shift of every column. Else maxima are known by
    then, and the columns are read again.
    """
    v = vector_of(tile.x)
    w = lanes(v)
    for j in range(0, tile.columns, w):
        tell(tile, TOP, j, fill(v, -np.inf))
        start_sums(tile, j)
    add_columns(tile, False)
    far = False
    for j in range(0, tile.columns, w):
        top = told(tile, TOP, j)
        far |= any_less(where_less(top, near(v), v, fill(v, -1.0)), v)
    if far:
        for j in range(0, tile.columns, w):
            start_sums(tile, j)
        add_columns(tile, True)
    for j in range(0, tile.columns, w):
        tell(tile, FIRST, j, fold(tile, j, far))


@inline
def rest_of(tile, c):
    """Give the sum without one maximum, relative to the maximum's term, of one column."""
    return (np.float64(number(tile, HIGH, c)) + number(tile, LOW, c)) / number(tile, FIRST, c)


@inline
def number(tile, what, c):
    """Read what is known of one column."""
    return tile.room[what * tile.width + c]


@inline
def column_has_nan(tile, c):
    """Tell whether a column holds NaN."""
    found = False
    for i in range(tile.n):
        found |= np.isnan(tile.x[tile.at + i * tile.step + c])
    return found


@inline
def write_rows(tile, j, first, size, logs, out, to, out_step, past):
    """Write some rows of a vector of columns: log-probabilities, or exponentials times HIGH."""
    v = vector_of(tile.x)
    left = tile.columns - j
    top, by = told(tile, TOP, j), told(tile, HIGH, j)
    shift = shift_of(top)
    for i in range(first, first + size):
        y = get(v, tile.x, tile.at + i * tile.step + j, left)
        y = y - top - by if logs else exponential(y, shift) * by
        if past:
            stream(out, to + i * out_step + j, y)
        else:
            put(out, to + i * out_step + j, y, left)


@inline
def write_columns(tile, logs, out, to, out_step, past):
    """Write all columns of a tile."""
    w = lanes(vector_of(tile.x))
    for first in range(0, tile.n, EIGHT):
        for j in range(0, tile.columns, w):
            size = min(EIGHT, tile.n - first)
            write_rows(tile, j, first, size, logs, out, to, out_step, past)


@inline
def lines_of(x, out, to, out_step, count, streamed):
    """Tell whether all vectors that are written are lines of the cache, to be written past it."""
    w = lanes(vector_of(x))
    return streamed and misaligned(out, to) == 0 and out_step % w == 0 and count % w == 0


@kernel
def columns(x, out, width, kind, streamed, state, bell, me):
    """Do slices along the middle axis: x, out (outer, n, inner) or out (outer, 1, inner).

    A tile, ``width`` columns, is gone over row by row, as it lies in memory.
    """
    team, heard = team_of(state, bell), strokes(bell)
    outer, n, inner = x.shape
    each = (inner + width - 1) // width
    src, dst, x_step, out_step = data(x), data(out), x.strides[1] // x.itemsize, inner
    room = np.empty(4 * width, x.dtype)
    block = claim(team, me, -1, outer * each)
    while block < outer * each:
        row, start, count = tile_of(block, inner, width)
        at, to = row * step_of(x) + start, row * step_of(out) + start
        tile = Tile(src, at, x_step, n, count, data(room), width)
        sum_columns(tile)
        for c in range(count):
            m, rest = np.float64(number(tile, TOP, c)), rest_of(tile, c)
            if kind == SOFTMAX:
                room[HIGH * width + c] = 1.0 / ((1.0 + rest) * number(tile, FIRST, c))
            elif kind == LOG_SOFTMAX:
                room[HIGH * width + c] = np.log1p(rest)
            elif abs(m) < np.inf:
                dst[to + c] = m + np.log1p(rest)
            else:
                dst[to + c] = np.nan if column_has_nan(tile, c) else m
        if kind != LOGSUMEXP:
            past = lines_of(src, dst, to, out_step, count, streamed)
            write_columns(tile, kind == LOG_SOFTMAX, dst, to, out_step, past)
        done(team, 1)
        block = claim(team, me, block, outer * each)
    hold(room)
    linger(team, me, heard)


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


class Task(NamedTuple):
    """What is asked for beside the scores and the targets."""

    weight: Any
    weighted: bool
    ignored: int
    skip: bool  # targets equal to ``ignored``
    divisor: float
    want: bool  # the gradient


@inline
def short_loss(x, n, at, grad, to, free, four, j, kept, t, task):
    """Give the loss of row j of four, and write its gradient; ``free`` as in `short_row`."""
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
            put(grad, to + i, load(v, kept, src + i) * scale, free - i)
        grad[to + t] = hard_gradient(kept[src + t], rest, by, behind) * amount
    return weighted_loss(one, factor)


@inline
def short_losses(x, n, x_step, target, loss, grad, task, first, end, kept):
    """Do rows of a few vectors, four at a time; where none is left, the last one again."""
    ahead = apart(x, grad)
    for i in range(first, end, 4):
        j, k, z = min(i + 1, end - 1), min(i + 2, end - 1), min(i + 3, end - 1)
        a, b, c, d = i * x_step, j * x_step, k * x_step, z * x_step
        four = four_short(x, a, b, c, d, n, True, task.want, kept)
        for row, at, place in ((i, a, 0), (j, b, 1), (k, c, 2), (z, d, 3)):
            if row == i + place:
                to, free = row * n, (end - row) * n if ahead else n
                loss[row] = short_loss(
                    x, n, at, grad, to, free, four, place, kept, target[row], task
                )


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
        s, then = terms(Row(src, at, n, shift, kept, new, ahead), want, earlier)
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


@kernel
def column_losses(
    x, target, width, weight, ignored, skip, divisor, loss, grad, want, streamed, state, bell, me
):
    """Do the same for classes along the middle axis: x, grad (outer, n, inner).

    Targets and losses lie one after the other, inner to each outer.
    """
    team, heard = team_of(state, bell), strokes(bell)
    outer, n, inner = x.shape
    each = (inner + width - 1) // width
    src, dst, x_step = data(x), data(grad), x.strides[1] // x.itemsize
    weighted = weight.shape[0] > 0
    room = np.empty(4 * width, x.dtype)
    block = claim(team, me, -1, outer * each)
    while block < outer * each:
        row, start, count = tile_of(block, inner, width)
        at, to, first = row * step_of(x) + start, row * n * inner + start, row * inner + start
        tile = Tile(src, at, x_step, n, count, data(room), width)
        sum_columns(tile)
        for c in range(count):
            t = target[first + c]
            if skip and t == ignored:
                loss[first + c] = 0.0
                room[LOW * width + c] = rest_of(tile, c)
                room[HIGH * width + c] = 0.0
                continue
            factor = np.float64(weight[t]) if weighted else 1.0
            rest = rest_of(tile, c)
            one = (np.float64(number(tile, TOP, c)) - src[at + t * x_step + c]) + np.log1p(rest)
            loss[first + c] = weighted_loss(one, factor)
            amount = factor / divisor
            room[HIGH * width + c] = amount / ((1.0 + rest) * number(tile, FIRST, c))
            room[LOW * width + c] = math.expm1(-one) * amount  # p - 1, and nothing cancels
        if want:
            past = lines_of(src, dst, to, inner, count, streamed)
            write_columns(tile, False, dst, to, inner, past)
            for c in range(count):
                t = target[first + c]
                if not (skip and t == ignored):
                    dst[to + t * inner + c] = room[LOW * width + c]
                elif np.isnan(number(tile, LOW, c)):  # and that times 0
                    for i in range(n):
                        dst[to + i * inner + c] = 0.0
        done(team, 1)
        block = claim(team, me, block, outer * each)
    hold(room)
    linger(team, me, heard)


@kernel
def whole_loss(x, target, weight, ignored, skip, mean, grad, want, alone):
    """Do all of a small loss in one call: give the first wrong target, or -1, and the loss."""
    wrong, divisor = weigh(target, x.shape[1], ignored, skip, weight)
    if wrong >= 0:
        return wrong, 0.0
    divisor = (divisor if divisor != 0 else np.nan) if mean else 1.0
    loss = np.empty(x.shape[0])
    losses(x, target, weight, ignored, skip, divisor, loss, grad, want, False, alone, alone, 0)
    return wrong, add_up(loss) / divisor


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
            s, _ = terms(Row(src, at, n, shift, scratch, 0, at), True, nothing)
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
