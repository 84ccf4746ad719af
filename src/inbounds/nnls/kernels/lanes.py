"""Sixteen frames abreast: a vector type for kernels, whose arithmetic reads like that of one number.

    x = load(rows, i)           rows[i, :16] of a C-contiguous two-dimensional float32 or float64 array
    y = maximum(2.0 * x + x, splat(x, 0.0))
    store(rows, i, where(x > y, x, y))

Numba's own loops over lanes vectorise only if LLVM can prove that no two arrays overlap, and keep their sums
in memory; here a variable is a register by construction.
"""
# pyright: reportCallIssue=false
# (Numba's intrinsics are called without the typing context their Python signatures begin with.)

import operator

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, overload, register_model

LANES = 16


class Lanes(types.Type):
    """LANES values of one scalar type; of types.boolean, a mask."""

    def __init__(self, scalar):
        self.scalar = scalar
        super().__init__(name=f"Lanes({scalar})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        bits = (
            ir.IntType(1) if fe_type.scalar is types.boolean else dmm.lookup(fe_type.scalar).get_value_type()
        )
        super().__init__(dmm, fe_type, ir.VectorType(bits, LANES))


_MASK = Lanes(types.boolean)


def _splat(builder, value):
    vector = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _row(context, builder, array_type, array, i):
    """A pointer to the LANES values of a row."""
    from numba.core.cgutils import get_item_pointer

    view = context.make_array(array_type)(context, builder, array)
    zero = ir.Constant(i.type, 0)
    pointer = get_item_pointer(context, builder, array_type, view, [i, zero], wraparound=False)
    scalar = context.get_value_type(array_type.dtype)
    return builder.bitcast(pointer, ir.VectorType(scalar, LANES).as_pointer())


@intrinsic
def load(typing, rows, i):
    """rows[i, :LANES]."""

    def generate(context, builder, signature, arguments):
        index = context.cast(builder, arguments[1], signature.args[1], types.intp)
        pointer = _row(context, builder, signature.args[0], arguments[0], index)
        return builder.load(pointer, align=context.get_abi_sizeof(pointer.type.pointee.element))

    return Lanes(rows.dtype)(rows, i), generate


@intrinsic
def store(typing, rows, i, value):
    """rows[i, :LANES] = value."""

    def generate(context, builder, signature, arguments):
        index = context.cast(builder, arguments[1], signature.args[1], types.intp)
        pointer = _row(context, builder, signature.args[0], arguments[0], index)
        builder.store(arguments[2], pointer, align=context.get_abi_sizeof(pointer.type.pointee.element))
        return context.get_dummy_value()

    return types.void(rows, i, value), generate


@intrinsic
def load_run(typing, flat, start):
    """flat[start : start + LANES], of a one-dimensional array."""

    def generate(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        vector = ir.VectorType(context.get_value_type(signature.args[0].dtype), LANES)
        pointer = builder.bitcast(builder.gep(view.data, [arguments[1]]), vector.as_pointer())
        return builder.load(pointer, align=context.get_abi_sizeof(vector.element))

    return Lanes(flat.dtype)(flat, types.intp), generate


@intrinsic
def store_run(typing, flat, start, value):
    """flat[start : start + LANES] = value, of a one-dimensional array."""

    def generate(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(view.data, [arguments[1]])
        pointer = builder.bitcast(pointer, arguments[2].type.as_pointer())
        size = context.get_abi_sizeof(arguments[2].type.element)
        builder.store(arguments[2], pointer, align=size)
        return context.get_dummy_value()

    return types.void(flat, types.intp, value), generate


@intrinsic
def splat(typing, like, value):
    """The number `value` in every lane, of the type of `like`."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, context.cast(builder, arguments[1], signature.args[1], like.scalar))

    return like(like, value), generate


@intrinsic
def lane(typing, value, k):
    """The value of lane k."""

    def generate(context, builder, signature, arguments):
        index = context.cast(builder, arguments[1], signature.args[1], types.int32)
        return builder.extract_element(arguments[0], index)

    return value.scalar(value, k), generate


@intrinsic
def where(typing, mask, yes, no):
    """Lane by lane, yes or no."""
    return yes(mask, yes, no), lambda context, builder, signature, a: builder.select(*a)


def _elementwise(operation, emit, result=None):
    """Teach an operator to two Lanes, or to Lanes and a number on either side."""

    @intrinsic
    def apply(typing, a, b):
        vector = a if isinstance(a, Lanes) else b

        def generate(context, builder, signature, arguments):
            sides = [
                value
                if isinstance(kind, Lanes)
                else _splat(builder, context.cast(builder, value, kind, vector.scalar))
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            return emit(builder, *sides)

        return (result or vector)(a, b), generate

    @overload(operation)
    def _typed(a, b):
        if isinstance(a, Lanes) or isinstance(b, Lanes):
            return lambda a, b: apply(a, b)
        return None


def _compare(symbol):
    return lambda builder, a, b: builder.fcmp_ordered(symbol, a, b)


def maximum(a, b):
    """Lane by lane the larger; b where a is NaN."""
    raise NotImplementedError("called from kernels only")


def minimum(a, b):
    """Lane by lane the smaller; b where a is NaN."""
    raise NotImplementedError("called from kernels only")


_elementwise(operator.add, lambda builder, a, b: builder.fadd(a, b))
_elementwise(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_elementwise(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_elementwise(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))
_elementwise(operator.gt, _compare(">"), _MASK)
_elementwise(operator.ge, _compare(">="), _MASK)
_elementwise(operator.lt, _compare("<"), _MASK)
_elementwise(operator.le, _compare("<="), _MASK)
_elementwise(operator.and_, lambda builder, a, b: builder.and_(a, b), _MASK)
_elementwise(operator.or_, lambda builder, a, b: builder.or_(a, b), _MASK)
_elementwise(maximum, lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
_elementwise(minimum, lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))


@overload(operator.invert)
def _invert(a):
    if isinstance(a, Lanes):
        return lambda a: _not(a)
    return None


@overload(operator.neg)
def _negative(a):
    if isinstance(a, Lanes):
        return lambda a: 0.0 - a
    return None


@intrinsic
def _not(typing, mask):
    return mask(mask), lambda context, builder, signature, a: builder.not_(a[0])


@overload(abs)
def _absolute(a):
    if isinstance(a, Lanes):
        return lambda a: maximum(a, 0.0 - a)
    return None


@intrinsic
def bits_of(typing, mask):
    """A mask as an integer, lane k in bit k."""

    def generate(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], ir.IntType(LANES))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(mask), generate


ALL = (1 << LANES) - 1
