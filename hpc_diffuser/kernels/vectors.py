"""Sums of products in the processor's vectors, said in the source and not left to the compiler.

Compilers make no vectors where they cannot tell that two arrays are apart, and none of sums that
they would have to add in another order. What is here is written as LLVM's vectors, of 16 numbers in
single precision: on processors with shorter ones they are split, and the bits are the same.

Arrays are C-contiguous, of one axis, and are not sliced, which would count references at every
call: what is told is where to begin, and nothing is checked.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from hpc_diffuser.system.arrays import Floats

ROW = 16  # numbers in a vector
WIDE = 2 * ROW  # of `mix_rows`
ARRAY_TYPE = types.Array(types.float32, 1, "C")
ROW_TYPE = ir.VectorType(ir.FloatType(), ROW)
_INDEX = ir.IntType(32)


def add_three(total: Floats, i: int, x: Any, y: Any, z: Any, rows: Floats, j: int) -> None:
    """total[i + n] += x rows[j + n] + y rows[j + R + n] + z rows[j + 2R + n] for n < R = `ROW`.

    The products are added in this order, each rounded once with what it is added to.

    Parameters
    ----------
    total, rows : (·,) float32
    i, j : int
    x, y, z : float32
    """
    for n in range(ROW):
        once = total[i + n] + x * rows[j + n]
        total[i + n] = once + y * rows[j + ROW + n] + z * rows[j + 2 * ROW + n]


@overload(add_three, strict=False)
def _add_three(total: Any, i: Any, x: Any, y: Any, z: Any, rows: Any, j: Any) -> Any:
    if total == rows == ARRAY_TYPE and x == y == z == types.float32:
        return lambda total, i, x, y, z, rows, j: _three(  # type: ignore[call-arg]
            total, i, x, y, z, rows, j
        )
    return None


@intrinsic
def _three(_: Any, total: Any, i: Any, x: Any, y: Any, z: Any, rows: Any, j: Any) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        to, i, x, y, z, of, j = arguments
        place = place_of(context, builder, total, to, i)
        value = builder.load(place, align=4)
        for number, factor in enumerate((x, y, z)):
            start = builder.add(j, ir.Constant(j.type, number * ROW))
            row = builder.load(place_of(context, builder, rows, of, start), align=4)
            value = builder.call(fma(builder), [everywhere(builder, factor), row, value])
        builder.store(value, place, align=4)
        return context.get_dummy_value()

    return types.void(total, types.intp, x, y, z, rows, types.intp), generate


def mix_rows(
    mixed: Floats, i: int, rows: Floats, j: int, stride: int, weights: Floats, k: int, n: int
) -> None:
    """mixed[i + c] = Σ_t weights[k + t] rows[j + t stride + c] for c < `WIDE`, t < n.

    By fours: of t = 0, 1, 2, 3 the products are added in the order 1, 0, 2, 3, each rounded once
    with what it is added to.

    Parameters
    ----------
    mixed, rows, weights : (·,) float32
    i, j, stride, k : int
    n : int
        A multiple of 4.
    """
    total = np.zeros(WIDE, np.float32)
    for t in range(0, n, 4):
        for u in (t + 1, t, t + 2, t + 3):
            start = j + u * stride
            total += weights[k + u] * rows[start : start + WIDE]
    mixed[i : i + WIDE] = total


@overload(mix_rows, strict=False)
def _mix_rows(
    mixed: Any, i: Any, rows: Any, j: Any, stride: Any, weights: Any, k: Any, n: Any
) -> Any:
    if mixed == rows == weights == ARRAY_TYPE:
        return lambda mixed, i, rows, j, stride, weights, k, n: _mix(  # type: ignore[call-arg]
            mixed, i, rows, j, stride, weights, k, n
        )
    return None


@intrinsic
def _mix(
    _: Any, mixed: Any, i: Any, rows: Any, j: Any, stride: Any, weights: Any, k: Any, n: Any
) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        to, i, of, j, stride, by, k, n = arguments
        shifts = range(0, WIDE, ROW)
        totals = [cgutils.alloca_once_value(builder, ir.Constant(ROW_TYPE, None)) for _ in shifts]
        factors = builder.gep(make_array(weights)(context, builder, by).data, [k])
        zero, four = (ir.Constant(n.type, value) for value in (0, 4))
        with cgutils.for_range_slice(builder, zero, n, four) as (t, _):
            for number in (1, 0, 2, 3):
                u = builder.add(t, ir.Constant(t.type, number))
                start = builder.add(j, builder.mul(u, stride))
                factor = everywhere(builder, builder.load(builder.gep(factors, [u])))
                for shift, total in zip(shifts, totals, strict=True):
                    place = builder.add(start, ir.Constant(start.type, shift))
                    row = builder.load(place_of(context, builder, rows, of, place), align=4)
                    value = builder.call(fma(builder), [factor, row, builder.load(total)])
                    builder.store(value, total)
        for shift, total in zip(shifts, totals, strict=True):
            place = place_of(
                context, builder, mixed, to, builder.add(i, ir.Constant(i.type, shift))
            )
            builder.store(builder.load(total), place, align=4)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(mixed, whole, rows, whole, whole, weights, whole, whole), generate


def add_squares(
    sums: Floats,
    i: int,
    quadrant: int,
    halves: Floats,
    j: int,
    parity: int,
    table: Floats,
    k: int,
    odd: int,
    width: int,
    n: int,
) -> None:
    """Add |F|² of one row of k, at `ROW` columns of l, in four quadrants.

    F is the last step of a transform: of what is even and odd in y and in z, and is complex, to
    cosines and sines along z; see `density._sum_row`.

    Parameters
    ----------
    sums : (·,) float32
        Of the quadrants (k, l), (k, −l), (−k, l), (−k, −l): one every `quadrant` from i on.
    i, quadrant : int
    halves : (·,) float32
        Along half the box in z, n real parts and n imaginary ones from j on: even in y and z; even
        in y, odd in z; odd, even; odd, odd: one every `parity`.
    j, parity : int
    table : (·,) float32
        Cosines at the columns from k on, one row for each point every `width`; sines the same from
        k + odd on.
    k, odd, width, n : int
    """
    for q, wave in enumerate(_plain_quadrants(halves, j, parity, table, k, odd, width, n)):
        row = slice(i + q * quadrant, i + q * quadrant + ROW)
        sums[row] += wave.real**2 + wave.imag**2


def put_waves(
    real: Floats,
    imaginary: Floats,
    i: int,
    quadrant: int,
    halves: Floats,
    j: int,
    parity: int,
    table: Floats,
    k: int,
    odd: int,
    width: int,
    n: int,
) -> None:
    """The real and the imaginary part of F itself, where `add_squares` would add |F|²."""
    for q, wave in enumerate(_plain_quadrants(halves, j, parity, table, k, odd, width, n)):
        row = slice(i + q * quadrant, i + q * quadrant + ROW)
        real[row], imaginary[row] = wave.real, wave.imag


def _plain_quadrants(
    halves: Floats, j: int, parity: int, table: Floats, k: int, odd: int, width: int, n: int
) -> list[Any]:
    """F in the four quadrants, as plain Python."""
    part = np.zeros((2, 2, ROW), np.complex64)
    for y, z in np.ndindex(2, 2):
        first = j + (2 * y + z) * parity
        for t in range(n):
            row = k + z * odd + t * width
            wave = complex(halves[first + t], halves[first + n + t])
            part[y, z] += wave * table[row : row + ROW]
    (cc, cs), (sc, ss) = part
    upper = [cc - ss + 1j * (cs + sc), cc + ss - 1j * (cs - sc)]
    return [*upper, cc + ss + 1j * (cs - sc), cc - ss - 1j * (cs + sc)]


@overload(add_squares, strict=False)
def _add_squares(
    sums: Any,
    i: Any,
    quadrant: Any,
    halves: Any,
    j: Any,
    parity: Any,
    table: Any,
    k: Any,
    odd: Any,
    width: Any,
    n: Any,
) -> Any:
    if sums == halves == table == ARRAY_TYPE:
        return lambda sums, i, quadrant, halves, j, parity, table, k, odd, width, n: _squares(  # type: ignore[call-arg]
            sums, i, quadrant, halves, j, parity, table, k, odd, width, n
        )
    return None


@intrinsic
def _squares(
    _: Any,
    sums: Any,
    i: Any,
    quadrant: Any,
    halves: Any,
    j: Any,
    parity: Any,
    table: Any,
    k: Any,
    odd: Any,
    width: Any,
    n: Any,
) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        to, i, quadrant, of, *others = arguments
        totals = _along_z(context, builder, (halves, of), (table, others[2]), others)
        for number, (real, imaginary) in enumerate(_quadrants(builder, totals)):
            place = place_of(context, builder, sums, to, _shifted(builder, i, quadrant, number))
            square = builder.fmul(imaginary, imaginary)
            square = builder.call(fma(builder), [real, real, square])
            builder.store(builder.fadd(builder.load(place, align=4), square), place, align=4)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(
        sums, whole, whole, halves, whole, whole, table, whole, whole, whole, whole
    ), generate


@overload(put_waves, strict=False)
def _put_waves(
    real: Any,
    imaginary: Any,
    i: Any,
    quadrant: Any,
    halves: Any,
    j: Any,
    parity: Any,
    table: Any,
    k: Any,
    odd: Any,
    width: Any,
    n: Any,
) -> Any:
    if real == imaginary == halves == table == ARRAY_TYPE:
        return lambda real, imaginary, i, quadrant, halves, j, parity, table, k, odd, width, n: (
            _waves(real, imaginary, i, quadrant, halves, j, parity, table, k, odd, width, n)  # type: ignore[call-arg]
        )
    return None


@intrinsic
def _waves(
    _: Any,
    real: Any,
    imaginary: Any,
    i: Any,
    quadrant: Any,
    halves: Any,
    j: Any,
    parity: Any,
    table: Any,
    k: Any,
    odd: Any,
    width: Any,
    n: Any,
) -> Any:
    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        to_real, to_imaginary, i, quadrant, of, *others = arguments
        totals = _along_z(context, builder, (halves, of), (table, others[2]), others)
        for number, parts in enumerate(_quadrants(builder, totals)):
            start = _shifted(builder, i, quadrant, number)
            for kind, to, part in zip(
                (real, imaginary), (to_real, to_imaginary), parts, strict=True
            ):
                builder.store(part, place_of(context, builder, kind, to, start), align=4)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(
        real, imaginary, whole, whole, halves, whole, whole, table, whole, whole, whole, whole
    ), generate


def _along_z(
    context: Any, builder: ir.IRBuilder, halves: Any, table: Any, places: list[Any]
) -> list[Any]:
    """The products of `add_squares`, of arrays with their types, at j, parity, ., k, odd, ..."""
    j, parity, _, k, odd, width, n = places
    left = [
        builder.gep(make_array(halves[0])(context, builder, halves[1]).data, [start])
        for start in _starts(builder, j, parity, n)
    ]
    starts = (k, builder.add(k, odd))
    along_z = [place_of(context, builder, table[0], table[1], start) for start in starts]
    return _products(builder, left, along_z, width, n)


def _shifted(builder: ir.IRBuilder, start: Any, unit: Any, number: int) -> Any:
    return builder.add(start, builder.mul(unit, ir.Constant(start.type, number)))


def _starts(builder: ir.IRBuilder, j: Any, parity: Any, n: Any) -> list[Any]:
    """Where the eight rows of `halves` begin: (y, z, real or imaginary)."""
    found = []
    for number in range(4):
        start = builder.add(j, builder.mul(parity, ir.Constant(j.type, number)))
        found += [start, builder.add(start, n)]
    return found


def _products(
    builder: ir.IRBuilder, left: list[Any], along_z: list[Any], width: Any, n: Any
) -> list[Any]:
    """The eight rows' products with the table's two: vectors."""
    totals = [cgutils.alloca_once_value(builder, ir.Constant(ROW_TYPE, None)) for _ in left]
    zero, one = (ir.Constant(n.type, value) for value in (0, 1))
    numbers = [builder.bitcast(first, ir.FloatType().as_pointer()) for first in along_z]
    with cgutils.for_range_slice(builder, zero, n, one) as (t, _):
        places = [builder.gep(first, [builder.mul(t, width)]) for first in numbers]
        waves = [builder.load(builder.bitcast(p, ROW_TYPE.as_pointer()), align=4) for p in places]
        for number, (first, total) in enumerate(zip(left, totals, strict=True)):
            factor = everywhere(builder, builder.load(builder.gep(first, [t])))
            wave = waves[number // 2 % 2]
            value = builder.call(fma(builder), [factor, wave, builder.load(total)])
            builder.store(value, total)
    return [builder.load(total) for total in totals]


def _quadrants(builder: ir.IRBuilder, totals: list[Any]) -> list[tuple[Any, Any]]:
    """Real and imaginary part of F in the four quadrants, from the products: vectors."""
    cc, icc, cs, ics, sc, isc, ss, iss = totals
    add, less = builder.fadd, builder.fsub
    a, b, c, d = less(cc, ss), add(cc, ss), add(ics, isc), less(ics, isc)
    e, f, g, h = less(icc, iss), add(icc, iss), add(cs, sc), less(cs, sc)
    parts = [(less(a, c), add(e, g)), (add(b, d), less(f, h))]
    return [*parts, (less(b, d), add(f, h)), (add(a, c), less(e, g))]


def place_of(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, start: Any) -> Any:
    """A pointer to the row that begins there."""
    first = builder.gep(make_array(kind)(context, builder, array).data, [start])
    return builder.bitcast(first, ROW_TYPE.as_pointer())


def everywhere(builder: ir.IRBuilder, number: Any) -> Any:
    """A row of one number."""
    none = ir.Constant(ROW_TYPE, ir.Undefined)
    first = builder.insert_element(none, number, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(_INDEX, ROW), [0] * ROW))


def fma(builder: ir.IRBuilder) -> Any:
    """LLVM's `fma` of vectors."""
    of_three = ir.FunctionType(ROW_TYPE, [ROW_TYPE] * 3)
    return cgutils.get_or_insert_function(builder.module, of_three, f"llvm.fma.v{ROW}f32")
