"""Kernels have the bits that their source says, whoever compiles them."""

import ast
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import environment
from numba import njit

import hpc_diffuser.kernels
from hpc_diffuser.kernels.fused import LANES, fused, lanes_dot

KERNELS = sorted(Path(hpc_diffuser.kernels.__file__).parent.glob("*.py"))
SCRIPT = Path(__file__).parent / "kernel_bits.py"


@njit
def _fused(a, b, c):
    return fused(a, b, c)


@njit
def _dot(x, i, y, j, n):
    return lanes_dot(x, i, y, j, n)


def exact(a: float, b: float, c: float) -> np.float32:
    """a b + c of single-precision numbers, by rational arithmetic, rounded once."""
    value = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    near = np.float32(float(value))
    neighbours = (
        np.nextafter(near, np.float32(-np.inf)),
        near,
        np.nextafter(near, np.float32(np.inf)),
    )
    distances = [abs(Fraction(float(number)) - value) for number in neighbours]
    return neighbours[distances.index(min(distances))]


def test_one_rounding():
    """Against rational arithmetic; two roundings would often give another number."""
    a, b, c = np.random.default_rng(0).normal(size=(3, 300)).astype(np.float32)
    found = [_fused(*numbers) for numbers in zip(a, b, c, strict=True)]
    assert found == [exact(*numbers) for numbers in zip(a, b, c, strict=True)]
    assert np.mean(np.array(found) != a * b + c) > 0.1


def test_one_rounding_in_double_precision():
    """(1 + e)(1 − e) − 1 = −e²: with the product rounded it would be 0."""
    e = 2.0**-30
    assert _fused(1 + e, 1 - e, -1.0) == -(e**2)
    assert fused(1 + e, 1 - e, -1.0) == 0, "as plain Python: rounded twice"


@pytest.mark.parametrize("n", [0, 3, 8, 12, 16, 20, 23])
def test_order_of_a_dot_product(n):
    """To the last bit as its description says: lanes, halves, what is left; `exact` adds."""
    x, y = np.random.default_rng(n).normal(size=(2, 40)).astype(np.float32)
    i, j, whole = 5, 2, n // LANES * LANES
    lanes = [np.float32(0)] * LANES
    for t in range(whole):
        lanes[t % LANES] = exact(x[i + t], y[j + t], lanes[t % LANES])
    fours = [lanes[k] + lanes[k + 4] for k in range(4)]
    total = (fours[0] + fours[2]) + (fours[1] + fours[3])
    for t in range(whole, n):
        total = exact(x[i + t], y[j + t], total)
    assert _dot(x, i, y, j, n) == total
    assert np.isclose(lanes_dot(x, i, y, j, n), total, rtol=1e-5), "as plain Python"


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.stem)
def test_nothing_is_left_to_the_compiler(path):
    """With `fastmath` every copy of a function may round otherwise."""
    used = {
        keyword.arg
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
    }
    assert "fastmath" not in used, f"{path.name}: say by `fused` which products are fused"


@pytest.mark.slow
def test_compiled_and_loaded_kernels(tmp_path):
    """A process that has just compiled the kernels, and one that finds them: to the last bit."""
    cache = tmp_path / "cache"
    printed = [
        subprocess.run(
            [sys.executable, SCRIPT],
            env=environment(NUMBA_CACHE_DIR=str(cache), NUMBA_NUM_THREADS="1"),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert any(cache.rglob("*.nbc")) and len(printed[0].splitlines()) == 5
    assert printed[0] == printed[1]
