"""Products added in one rounding, said in the source and not chosen by the compiler.

Where a compiler may contract products and sums as it likes (`fastmath`), it chooses anew in every
copy of a function that it makes: what a process has just compiled and what the next one loads from
the cache then differ in last bits, and a run that is interrupted between them in its answer. A
kernel without such leave has the bits that its source says, wherever and however it is compiled.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from hpc_diffuser.system.arrays import Floats

LANES = 8  # of `lanes_dot`
_INDEX = ir.IntType(32)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


def fused(a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once; rounded twice where it runs as plain Python.

    Parameters
    ----------
    a, b, c : float32 or float64
        All of one kind.

    Returns
    -------
    float32 or float64
    """
    return a * b + c


@overload(fused, strict=False)  # annotations are no part of what numba compares
def _fused(a: Any, b: Any, c: Any) -> Any:
    if a == b == c and isinstance(a, types.Float):
        return lambda a, b, c: _multiply_and_add(a, b, c)  # type: ignore[call-arg]
    return None


@intrinsic
def _multiply_and_add(_: Any, a: Any, b: Any, c: Any) -> Any:
    """LLVM's `fma`: one instruction on the processors that have it."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return a(a, b, c), generate


def lanes_dot(x: Floats, i: int, y: Floats, j: int, n: int) -> Any:
    """Σ_t x[i + t] y[j + t] for t = 0..n − 1: in lanes while eight are left, then one by one.

    Lane l is the fused sum of the products t = l, l + 8, ...; to the lower four lanes the upper
    four are added, of those two to two, and one to one; then come what products are left.

    Parameters
    ----------
    x, y : (·,) float32
        C-contiguous. They are not sliced: that would count references at every call.
    i, j : int
        Where to start, inside. Nothing is checked.
    n : int

    Returns
    -------
    float32
    """
    whole = n // LANES * LANES
    lanes = np.zeros(LANES, np.float32)
    for t in range(0, whole, LANES):
        lanes += x[i + t : i + t + LANES] * y[j + t : j + t + LANES]
    for half in (4, 2, 1):
        lanes = lanes[:half] + lanes[half:]
    total = lanes[0]
    for t in range(whole, n):
        total += x[i + t] * y[j + t]
    return total


@overload(lanes_dot, strict=False)
def _lanes_dot(x: Any, i: Any, y: Any, j: Any, n: Any) -> Any:
    if x == y == types.Array(types.float32, 1, "C"):
        return lambda x, i, y, j, n: _vector_dot(x, i, y, j, n)  # type: ignore[call-arg]
    return None


@intrinsic
def _vector_dot(_: Any, x: Any, i: Any, y: Any, j: Any, n: Any) -> Any:
    """With LLVM's vectors: it makes none of scalar lanes, unless it may choose the order."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        x_array, i, y_array, j, n = arguments
        starts = [
            builder.gep(make_array(x)(context, builder, array).data, [first])
            for array, first in ((x_array, i), (y_array, j))
        ]
        return _sum_products(builder, starts, n)

    return types.float32(x, types.intp, y, types.intp, types.intp), generate


def _sum_products(builder: ir.IRBuilder, starts: list[Any], n: Any) -> Any:
    zero, one, step = (ir.Constant(n.type, value) for value in (0, 1, LANES))
    whole = builder.sub(n, builder.srem(n, step))
    lanes = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None))
    with cgutils.for_range_slice(builder, zero, whole, step) as (t, _):
        _add_product(builder, starts, t, lanes)
    total = cgutils.alloca_once_value(builder, _in_halves(builder, builder.load(lanes)))
    with cgutils.for_range_slice(builder, whole, n, one) as (t, _):
        _add_product(builder, starts, t, total)
    return builder.load(total)


def _add_product(builder: ir.IRBuilder, starts: list[Any], t: Any, total: Any) -> None:
    """Add the products at t to a number or a vector, by LLVM's `fma` of its kind."""
    kind = total.type.pointee
    name = "llvm.fma.f32" if kind == ir.FloatType() else f"llvm.fma.v{LANES}f32"
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    places = [builder.bitcast(builder.gep(start, [t]), kind.as_pointer()) for start in starts]
    values = [builder.load(place, align=4) for place in places]
    builder.store(builder.call(fma, [*values, builder.load(total)]), total)


def _in_halves(builder: ir.IRBuilder, lanes: Any) -> Any:
    """The sum of a vector's lanes, the upper half onto the lower one till one is left."""
    half = LANES // 2
    while half:
        low, high = (
            builder.shuffle_vector(lanes, lanes, ir.Constant(ir.VectorType(_INDEX, half), places))
            for places in (list(range(half)), list(range(half, 2 * half)))
        )
        lanes = builder.fadd(low, high)
        half //= 2
    return builder.extract_element(lanes, ir.Constant(_INDEX, 0))
