"""Vectors of 64 bytes for Numba: one cache line of float32 or float64, and what is done to it.

Numba compiles loops over numbers and leaves it to LLVM to find the vectors in them. Here they
are written down: a `Vector` is one value, `a + b` adds all of its lanes, and a processor whose
registers are shorter takes two or four instructions for it. So the order of every sum is part
of the source, and no flag that lets the compiler reorder arithmetic is needed.

Each function below is an intrinsic: its Python code runs at compile time and emits LLVM's
instructions. In their signatures ``v`` is a vector, ``a`` an array and ``i`` an offset from its
first element, counted in elements; in place of an array stands what `data` gives, too.
"""

# mypy: disable-error-code="no-untyped-call, no-untyped-def, misc, untyped-decorator"
from __future__ import annotations

import math
import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.extending import intrinsic as _intrinsic
from numba.core.extending import models, register_model
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from softmax_notes.exp_approximation import EXP_FLOAT32, EXP_FLOAT64, ExpPolynomial

# Any: callers leave out the first parameter, which a type checker cannot know.
intrinsic: Any = _intrinsic

BYTES = 64
I64 = ir.IntType(64)


def _numbers(
    polynomial: ExpPolynomial, digits: int, bias: int, reach: int, least: int
) -> dict[str, Any]:
    magic = 1.5 * 2.0**digits
    zero = magic + 1 - least  # the exponent 0 as a number holds it, in the low bits
    return {
        "inverse_ln2": polynomial.inverse_ln2,
        "minus_high": -polynomial.ln2_high,
        "minus_low": -polynomial.ln2_low,
        "coefficients": (1.0, 1.0, *polynomial.coefficients),  # of e^r = 1 + r + r² q(r)
        # Adding it to a small number rounds that to a whole one, and leaves it in the low bits.
        "magic": magic,
        "zero": zero,
        "raised": zero + bias,  # all exponents are so much larger: no term of a sum is subnormal
        "digits": digits,
        "least": float(least),  # the exponent of the smallest normal number
        "floor": -reach * polynomial.ln2_high,  # below it a probability is 0
        "exact": 2.0 ** math.ceil(math.log2(2 * reach)),  # beyond it x - m is exact above floor
    }


# What the kernels need to know of a dtype.
NUMBERS = {
    types.float32: _numbers(EXP_FLOAT32, digits=23, bias=60, reach=185, least=-126),
    types.float64: _numbers(EXP_FLOAT64, digits=52, bias=500, reach=1100, least=-1022),
}


class Vector(types.Type):
    """The type of 64 bytes of numbers of one dtype."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.lanes = BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, _llvm(fe_type))


def _llvm(v: Vector) -> ir.VectorType:
    """Give LLVM's name of a vector type."""
    element = ir.FloatType() if v.dtype == types.float32 else ir.DoubleType()
    return ir.VectorType(element, v.lanes)


def _bits(v: Vector) -> ir.VectorType:
    return ir.VectorType(ir.IntType(v.dtype.bitwidth), v.lanes)


def _number(v: Vector, value: float) -> ir.Constant:
    return ir.Constant(_llvm(v), [value] * v.lanes)


def _splat(builder: Any, scalar: Any, kind: ir.VectorType) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, I64(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)


def _call(builder: Any, name: str, result: Any, args: list[Any]) -> Any:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _suffix(v: Vector) -> str:
    return f"v{v.lanes}f{v.dtype.bitwidth}"


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, i: Any) -> Any:
    if isinstance(array_type, types.CPointer):
        return builder.gep(array, [i])
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [i])


# --- arithmetic: a + b, a - b, a * b, a / b


def _operator(python: Any, emit: str) -> None:
    @infer_global(python)  # pyright: ignore[reportOptionalCall]
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(python, Vector, Vector)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, emit)(*args)


for _python, _emit in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_python, _emit)


@intrinsic
def fma(typingctx, a, b, c):
    """Give a * b + c, rounded once."""

    def emit(context, builder, sig, args):
        return _call(builder, f"llvm.fma.{_suffix(a)}", _llvm(a), list(args))

    return a(a, b, c), emit


@intrinsic
def larger(typingctx, a, b):
    """Give a where it is larger than b, else b: b too where either is NaN."""

    def emit(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return a(a, b), emit


@intrinsic(prefer_literal=True)
def constant(typingctx, v, name):
    """Give the constant of that name in the dtype of v, in every lane."""
    vector, value = v, NUMBERS[v.dtype][name.literal_value]

    def emit(context, builder, sig, args):
        return _number(vector, value)

    return vector(vector, name), emit


@intrinsic(prefer_literal=True)
def scalar(typingctx, v, name):
    """Give the constant of that name in the dtype of v, as a float64."""
    value = float(NUMBERS[v.dtype][name.literal_value])

    def emit(context, builder, sig, args):
        return ir.Constant(ir.DoubleType(), value)

    return types.float64(v, name), emit


@intrinsic
def polynomial(typingctx, r):
    """Give e^r for a small r, by Horner's rule."""
    coefficients = NUMBERS[r.dtype]["coefficients"]

    def emit(context, builder, sig, args):
        total = _number(r, coefficients[-1])
        for c in reversed(coefficients[:-1]):
            factors = [args[0], total, _number(r, c)]
            total = _call(builder, f"llvm.fma.{_suffix(r)}", _llvm(r), factors)
        return total

    return r(r), emit


@intrinsic
def power_of_two(typingctx, shifted):
    """Give 2^k, where the low bits of shifted hold k as those of the constant "zero" hold 0."""
    v = shifted

    def emit(context, builder, sig, args):
        kind = _bits(v)
        places = ir.Constant(kind, [NUMBERS[v.dtype]["digits"]] * v.lanes)
        return builder.bitcast(builder.shl(builder.bitcast(args[0], kind), places), _llvm(v))

    return v(v), emit


# --- comparisons


@intrinsic
def where_less(typingctx, a, b, yes, no):
    """Give yes where |a| < b, else no."""

    def emit(context, builder, sig, args):
        size = _call(builder, f"llvm.fabs.{_suffix(a)}", _llvm(a), [args[0]])
        return builder.select(builder.fcmp_ordered("<", size, args[1]), args[2], args[3])

    return a(a, b, yes, no), emit


@intrinsic
def where_equal(typingctx, a, b, yes, no):
    """Give yes where a == b, else no."""

    def emit(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered("==", *args[:2]), args[2], args[3])

    return a(a, b, yes, no), emit


@intrinsic
def first_lanes(typingctx, v, count):
    """Give v with zeros in all lanes but the first, as many as count says."""

    def emit(context, builder, sig, args):
        return builder.select(_first(builder, v, args[1]), args[0], _number(v, 0.0))

    return v(v, types.int64), emit


@intrinsic
def last_lanes(typingctx, v, count):
    """Give v with zeros in all lanes but the last, as many as count says."""

    def emit(context, builder, sig, args):
        others = _first(builder, v, builder.sub(I64(v.lanes), args[1]))
        return builder.select(others, _number(v, 0.0), args[0])

    return v(v, types.int64), emit


@intrinsic
def any_less(typingctx, a, b):
    """Tell whether a < b in any lane."""
    v = a

    def emit(context, builder, sig, args):
        bits = ir.IntType(v.lanes)
        found = builder.bitcast(builder.fcmp_ordered("<", *args), bits)
        return builder.icmp_signed("!=", found, bits(0))

    return types.boolean(a, b), emit


# --- between lanes and numbers


@intrinsic
def fill(typingctx, v, value):
    """Give a vector like v with one number in every lane, rounded to its dtype."""

    def emit(context, builder, sig, args):
        number = context.cast(builder, args[1], value, v.dtype)
        return _splat(builder, number, _llvm(v))

    return v(v, value), emit


@intrinsic
def vector_of(typingctx, a):
    """Give a vector of zeros of the dtype of an array."""
    v = Vector(a.dtype)

    def emit(context, builder, sig, args):
        return _number(v, 0.0)

    return v(a), emit


@intrinsic
def lanes(typingctx, v):
    """Give the number of lanes."""
    count = v.lanes

    def emit(context, builder, sig, args):
        return I64(count)

    return types.int64(v), emit


@intrinsic
def lane(typingctx, v, i):
    """Give the number in one lane."""

    def emit(context, builder, sig, args):
        return builder.extract_element(*args)

    return v.dtype(v, types.int64), emit


def _halves(builder: Any, v: Any, combine: Any) -> Any:
    """Combine the lanes in a tree, until lane 0 holds all of them."""
    width = v.type.count // 2
    while width:
        order = [i ^ width for i in range(v.type.count)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), v.type.count), order)
        v = combine(v, builder.shuffle_vector(v, v, mask))
        width //= 2
    return builder.extract_element(v, I64(0))


@intrinsic
def largest(typingctx, v):
    """Give the largest lane; none is NaN."""

    def emit(context, builder, sig, args):
        def combine(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return _halves(builder, args[0], combine)

    return v.dtype(v), emit


def _four(builder: Any, rows: Any, combine: Any) -> Any:
    """Combine the lanes of each of four vectors; a quarter of the result holds what one gives."""
    count = rows[0].type.count

    def halves(a, b, size):
        """Put the first and the second half of every run of lanes of that size side by side."""
        first = [i for i in range(2 * count) if i % size < size // 2]
        second = [i for i in range(2 * count) if i % size >= size // 2]
        mask = ir.VectorType(ir.IntType(32), count)
        return combine(
            *(builder.shuffle_vector(a, b, ir.Constant(mask, o)) for o in (first, second))
        )

    a, b, c, d = rows
    v = halves(halves(a, b, count), halves(c, d, count), count // 2)
    width = count // 8
    while width:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), count), [i ^ width for i in range(count)])
        v = combine(v, builder.shuffle_vector(v, v, mask))
        width //= 2
    return v


@intrinsic
def four_largest(typingctx, a, b, c, d):
    """Give the largest lane of each of four vectors, in a quarter of the result each."""

    def emit(context, builder, sig, args):
        def combine(x, y):
            return builder.select(builder.fcmp_ordered(">", x, y), x, y)

        return _four(builder, args, combine)

    return a(a, b, c, d), emit


@intrinsic
def four_added(typingctx, a, b, c, d):
    """Add the lanes of each of four vectors, in a quarter of the result each."""

    def emit(context, builder, sig, args):
        return _four(builder, args, builder.fadd)

    return a(a, b, c, d), emit


@intrinsic
def total(typingctx, high, low):
    """Add all lanes of high + low in float64."""

    def emit(context, builder, sig, args):
        kind = ir.VectorType(ir.DoubleType(), high.lanes)
        if high.dtype == types.float32:
            args = [builder.fpext(arg, kind) for arg in args]
        return _halves(builder, builder.fadd(*args), builder.fadd)

    return types.float64(high, low), emit


# --- memory


@intrinsic
def data(typingctx, a):
    """Give the place of the first element: an array that is passed around is counted each time."""

    def emit(context, builder, sig, args):
        return _pointer(context, builder, a, args[0], I64(0))

    return types.CPointer(a.dtype)(a), emit


@intrinsic
def hold(typingctx, a):
    """Keep an array alive until here, for those who have its place."""

    def emit(context, builder, sig, args):
        return context.get_dummy_value()

    return types.void(a), emit


@intrinsic
def load(typingctx, v, a, i):
    """Read a vector; it may begin anywhere."""

    def emit(context, builder, sig, args):
        pointer = _pointer(context, builder, a, args[1], args[2])
        pointer = builder.bitcast(pointer, _llvm(v).as_pointer())
        return builder.load(pointer, align=v.dtype.bitwidth // 8)

    return v(v, a, types.int64), emit


def _first(builder: Any, v: Vector, count: Any) -> Any:
    """Mark the first lanes, as many as count says."""
    kind = _bits(v)
    count = builder.trunc(count, kind.element) if kind.element.width < 64 else count
    order = ir.Constant(kind, list(range(v.lanes)))
    return builder.icmp_signed("<", order, _splat(builder, count, kind))


@intrinsic
def load_part(typingctx, v, a, i, count):
    """Read count numbers into the first lanes; the others keep those of v."""

    def emit(context, builder, sig, args):
        pointer = _pointer(context, builder, a, args[1], args[2])
        pointer = builder.bitcast(pointer, _llvm(v).as_pointer())
        align = ir.Constant(ir.IntType(32), v.dtype.bitwidth // 8)
        mask = _first(builder, v, args[3])
        name = f"llvm.masked.load.{_suffix(v)}.p0"
        return _call(builder, name, _llvm(v), [pointer, align, mask, args[0]])

    return v(v, a, types.int64, types.int64), emit


@intrinsic
def store(typingctx, a, i, v):
    """Write a vector; it may begin anywhere."""

    def emit(context, builder, sig, args):
        pointer = _pointer(context, builder, a, args[0], args[1])
        pointer = builder.bitcast(pointer, _llvm(v).as_pointer())
        builder.store(args[2], pointer, align=v.dtype.bitwidth // 8)

    return types.void(a, types.int64, v), emit


@intrinsic
def store_part(typingctx, a, i, v, count):
    """Write the first lanes, as many as count says."""

    def emit(context, builder, sig, args):
        pointer = _pointer(context, builder, a, args[0], args[1])
        pointer = builder.bitcast(pointer, _llvm(v).as_pointer())
        align = ir.Constant(ir.IntType(32), v.dtype.bitwidth // 8)
        mask = _first(builder, v, args[3])
        name = f"llvm.masked.store.{_suffix(v)}.p0"
        _call(builder, name, ir.VoidType(), [args[2], pointer, align, mask])

    return types.void(a, types.int64, v, types.int64), emit


@intrinsic
def stream(typingctx, a, i, v):
    """Write a vector to an address divisible by 64, past the caches: it is not read again."""

    def emit(context, builder, sig, args):
        pointer = _pointer(context, builder, a, args[0], args[1])
        pointer = builder.bitcast(pointer, _llvm(v).as_pointer())
        written = builder.store(args[2], pointer, align=BYTES)
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        written.set_metadata("nontemporal", one)

    return types.void(a, types.int64, v), emit


@intrinsic
def misaligned(typingctx, a, i):
    """Give the number of elements from here to the next address divisible by 64."""

    def emit(context, builder, sig, args):
        address = builder.ptrtoint(_pointer(context, builder, a, args[0], args[1]), I64)
        rest = builder.and_(builder.neg(address), I64(BYTES - 1))
        return builder.udiv(rest, I64(a.dtype.bitwidth // 8))

    return types.int64(a, types.int64), emit


@intrinsic
def apart(typingctx, a, b):
    """Tell whether two arrays begin at different places."""

    def emit(context, builder, sig, args):
        first, second = (
            builder.ptrtoint(_pointer(context, builder, kind, arg, I64(0)), I64)
            for kind, arg in zip((a, b), args, strict=True)
        )
        return builder.icmp_signed("!=", first, second)

    return types.boolean(a, b), emit


@intrinsic
def prefetch(typingctx, a, i):
    """Ask for the cache line of an element, which is read soon; it need not exist."""

    def emit(context, builder, sig, args):
        pointer = _pointer(context, builder, a, args[0], args[1])
        pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        options = [ir.Constant(ir.IntType(32), n) for n in (0, 3, 1)]
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *options])

    return types.void(a, types.int64), emit


# --- between threads


@intrinsic
def fetch_add(typingctx, a, i, value):
    """Add to an integer of an array as one step, whoever else does; give what was there."""

    def emit(context, builder, sig, args):
        pointer = _pointer(context, builder, a, args[0], args[1])
        return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

    return types.int64(a, types.int64, types.int64), emit


@intrinsic
def read(typingctx, a, i):
    """Read an integer that another thread may change."""

    def emit(context, builder, sig, args):
        pointer = _pointer(context, builder, a, args[0], args[1])
        return builder.load_atomic(pointer, "seq_cst", align=8)

    return types.int64(a, types.int64), emit


@intrinsic
def fence(typingctx):
    """Let everything written so far be seen by other threads, streamed stores included."""

    def emit(context, builder, sig, args):
        builder.fence("seq_cst")

    return types.void(), emit
