"""Products of tiles of matrices, and sums of products of their columns, in the processor's vectors.

As in `vectors`: nothing is checked, arrays have one axis, and the bits are the same everywhere.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from hpc_diffuser.kernels.vectors import ARRAY_TYPE, ROW, ROW_TYPE, everywhere, fma, place_of
from hpc_diffuser.system.arrays import Floats

TILE = (8, 2 * ROW)  # rows and columns of `multiply_tile`
_DOUBLES = types.Array(types.float64, 1, "C")
_INDEX = ir.IntType(32)


def multiply_tile(
    product: Floats,
    i: int,
    wide: int,
    left: Floats,
    j: int,
    long: int,
    right: Floats,
    k: int,
    width: int,
    n: int,
) -> None:
    """product[i + r wide + c] = Σ_t left[j + r long + t] right[k + t width + c] for a `TILE`.

    Parameters
    ----------
    product, left, right : (·,) float32
    i, j, k : int
    wide, long, width : int
        From a row of each to the next.
    n : int
        Products.
    """
    for r in range(TILE[0]):
        total = np.zeros(TILE[1], np.float32)
        for t in range(n):
            row = k + t * width
            total += left[j + r * long + t] * right[row : row + TILE[1]]
        product[i + r * wide : i + r * wide + TILE[1]] = total


@overload(multiply_tile, strict=False)
def _multiply_tile(
    product: Any,
    i: Any,
    wide: Any,
    left: Any,
    j: Any,
    long: Any,
    right: Any,
    k: Any,
    width: Any,
    n: Any,
) -> Any:
    if product == left == right == ARRAY_TYPE:
        return lambda product, i, wide, left, j, long, right, k, width, n: _tile(  # type: ignore[call-arg]
            product, i, wide, left, j, long, right, k, width, n
        )
    return None


@intrinsic
def _tile(
    _: Any,
    product: Any,
    i: Any,
    wide: Any,
    left: Any,
    j: Any,
    long: Any,
    right: Any,
    k: Any,
    width: Any,
    n: Any,
) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        to, i, wide, of, j, long, by, k, width, n = arguments
        shifts = [builder.mul(long, ir.Constant(j.type, r)) for r in range(TILE[0])]
        rows = [
            builder.gep(make_array(left)(context, builder, of).data, [builder.add(j, shift)])
            for shift in shifts
        ]
        first = builder.gep(make_array(right)(context, builder, by).data, [k])
        totals = _tile_products(builder, rows, first, width, n)
        for number, total in enumerate(totals):
            r, c = divmod(number, TILE[1] // ROW)
            shift = builder.mul(wide, ir.Constant(i.type, r))
            start = builder.add(builder.add(i, shift), ir.Constant(i.type, c * ROW))
            builder.store(total, place_of(context, builder, product, to, start), align=4)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(
        product, whole, whole, left, whole, whole, right, whole, whole, whole
    ), generate


def _tile_products(
    builder: ir.IRBuilder, rows: list[Any], first: Any, width: Any, n: Any
) -> list[Any]:
    """Every row times the columns: vectors, those of a row one behind the other."""
    n_vectors = TILE[1] // ROW
    totals = [
        cgutils.alloca_once_value(builder, ir.Constant(ROW_TYPE, None))
        for _ in range(len(rows) * n_vectors)
    ]
    zero, one = (ir.Constant(n.type, value) for value in (0, 1))
    with cgutils.for_range_slice(builder, zero, n, one) as (t, _):
        place = builder.bitcast(builder.gep(first, [builder.mul(t, width)]), ROW_TYPE.as_pointer())
        columns = [
            builder.load(builder.gep(place, [ir.Constant(_INDEX, c)]), align=4)
            for c in range(n_vectors)
        ]
        for number, total in enumerate(totals):
            r, c = divmod(number, n_vectors)
            factor = everywhere(builder, builder.load(builder.gep(rows[r], [t])))
            value = builder.call(fma(builder), [factor, columns[c], builder.load(total)])
            builder.store(value, total)
    return [builder.load(total) for total in totals]


def sum_products(totals: Floats, one: Floats, other: Floats, n: int) -> None:
    """totals[c] = Σ_t one[t C + c] other[t C + c] for t < n, c < C = `TILE[1]`, in this order.

    Parameters
    ----------
    totals : (·,) float64
    one, other : (·,) float32
    n : int
    """
    found = np.zeros(TILE[1])
    for start in range(0, n * TILE[1], TILE[1]):
        end = start + TILE[1]
        found += one[start:end].astype(np.float64) * other[start:end].astype(np.float64)
    totals[: TILE[1]] = found


@overload(sum_products, strict=False)
def _sum_products(totals: Any, one: Any, other: Any, n: Any) -> Any:
    if totals == _DOUBLES and one == other == ARRAY_TYPE:
        return lambda totals, one, other, n: _summed(totals, one, other, n)  # type: ignore[call-arg]
    return None


@intrinsic
def _summed(_: Any, totals: Any, one: Any, other: Any, n: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        to, a, b, n = arguments
        doubles = ir.VectorType(ir.DoubleType(), ROW)
        parts = range(TILE[1] // ROW)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(doubles, None)) for _ in parts]
        zero, step = (ir.Constant(n.type, value) for value in (0, 1))
        with cgutils.for_range_slice(builder, zero, n, step) as (t, _):
            start = builder.mul(t, ir.Constant(t.type, TILE[1]))
            for part, total in zip(parts, sums, strict=True):
                place = builder.add(start, ir.Constant(start.type, part * ROW))
                x, y = (
                    builder.fpext(
                        builder.load(place_of(context, builder, kind, of, place), align=4), doubles
                    )
                    for kind, of in ((one, a), (other, b))
                )
                builder.store(builder.fadd(builder.load(total), builder.fmul(x, y)), total)
        first = make_array(totals)(context, builder, to).data
        for part, total in zip(parts, sums, strict=True):
            place = builder.gep(first, [ir.Constant(_INDEX, part * ROW)])
            place = builder.bitcast(place, doubles.as_pointer())
            builder.store(builder.load(total), place, align=8)
        return context.get_dummy_value()

    return types.void(totals, one, other, types.intp), generate
