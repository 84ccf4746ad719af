"""Functions of vectors of lanes: exponentials and logarithms to the base two, and powers of two.

They work on the exponent and the mantissa of the floating-point words, and with a series on the rest.
"""
# pyright: reportCallIssue=false
# (Numba's intrinsics are called without the typing context their Python signatures begin with.)

import math

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from inbounds._jit import VECTORISED, kernel
from inbounds.nnls.kernels.lanes import LANES, maximum, minimum, splat, where


def _format(scalar):
    """Bits of the word, of the mantissa, and the exponent's bias."""
    return (32, 23, 127) if scalar is types.float32 else (64, 52, 1023)


def _on_bits(emit):
    """An intrinsic that sees the floating-point words as integers."""

    @intrinsic
    def apply(typing, value):
        word, mantissa, bias = _format(value.scalar)

        def generate(context, builder, signature, arguments):
            whole = ir.VectorType(ir.IntType(word), LANES)

            def constant(number):
                return ir.Constant(whole, [number] * LANES)

            floating = arguments[0].type
            return emit(builder, arguments[0], whole, floating, constant, mantissa, bias)

        return value(value), generate

    return apply


# 2 to the power of a whole number within the exponent's range; the exponent of a normal number > 0; its
# mantissa in [1, 2).
_power = _on_bits(
    lambda builder, x, whole, floating, constant, mantissa, bias: builder.bitcast(
        builder.shl(builder.add(builder.fptosi(x, whole), constant(bias)), constant(mantissa)), floating
    )
)
_exponent = _on_bits(
    lambda builder, x, whole, floating, constant, mantissa, bias: builder.sitofp(
        builder.sub(builder.lshr(builder.bitcast(x, whole), constant(mantissa)), constant(bias)), floating
    )
)
_mantissa = _on_bits(
    lambda builder, x, whole, floating, constant, mantissa, bias: builder.bitcast(
        builder.or_(
            builder.and_(builder.bitcast(x, whole), constant((1 << mantissa) - 1)), constant(bias << mantissa)
        ),
        floating,
    )
)
# The largest exponent of a power that is taken, a little within the format's range.
_reach = _on_bits(
    lambda builder, x, whole, floating, constant, mantissa, bias: ir.Constant(
        floating, [float(bias - 7)] * LANES
    )
)


@intrinsic
def _rounded(typing, value):
    """The nearest whole number."""

    def generate(context, builder, signature, arguments):
        vector = arguments[0].type
        name = f"llvm.rint.v{LANES}f{_format(value.scalar)[0]}"
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(vector, [vector]), name)
        return builder.call(function, arguments)

    return value(value), generate


@intrinsic
def _small_power(typing, value):
    """2^t for |t| <= 1/2, by Taylor's series to the dtype's precision."""
    degree = 7 if value.scalar is types.float32 else 13

    def generate(context, builder, signature, arguments):
        (t,) = arguments

        def constant(number):
            return ir.Constant(t.type, [number] * LANES)

        total = constant(math.log(2.0) ** degree / math.factorial(degree))
        for k in range(degree - 1, -1, -1):
            total = builder.fadd(builder.fmul(total, t), constant(math.log(2.0) ** k / math.factorial(k)))
        return total

    return value(value), generate


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def exp2(x):
    """2^x, x kept in the format's range: of the nearest whole number by its bits, of the rest by a series."""
    x = minimum(maximum(x, 0.0 - _reach(x)), _reach(x))
    whole = _rounded(x)
    return _small_power(x - whole) * _power(whole)


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def log2(x):
    """log₂ of normal numbers > 0, by the series of artanh in (m - 1) / (m + 1)."""
    exponent, m = _exponent(x), _mantissa(x)
    large = m > 1.4142135623730951
    m = where(large, 0.5 * m, m)
    exponent = where(large, exponent + 1.0, exponent)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    sum_ = splat(x, 1.0 / 23.0)
    for k in range(21, 0, -2):
        sum_ = 1.0 / k + square * sum_
    return exponent + sum_ * s * (2.0 / 0.6931471805599453)


@kernel(fastmath=VECTORISED, inner=True, forceinline=True)
def power_under(x):
    """1 / 2^k for the 2^k at or under |x|, k kept within ±120."""
    exponent = maximum(_exponent(maximum(x, 1e-37)), -120.0)
    return _power(maximum(0.0 - exponent, -120.0))
