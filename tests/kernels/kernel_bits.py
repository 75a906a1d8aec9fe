"""What the kernels make of made-up numbers, as hashes: run by `test_fused` as a process."""

import hashlib

import numpy as np

from hpc_diffuser.kernels import density
from hpc_diffuser.kernels.correlation import moment_sums
from hpc_diffuser.kernels.interpolation import interpolate_planes
from hpc_diffuser.kernels.rounding import large_number
from hpc_diffuser.kernels.transforms import BEHIND

BOX = (24, 26, 30)
SAMPLES = 3
METRIC = np.array([[0.06, 0.01, 0.005], [0.01, 0.07, 0.008], [0.005, 0.008, 0.05]], np.float32)

random = np.random.default_rng(1)


def main() -> None:
    densities = drawn()
    print("draw", digest(densities))
    print("add_moments", digest(moments(densities)))
    for taps in (8, 12):
        print("interpolate_planes", taps, digest(interpolated(taps)))
    x, y = normal(600), normal(600)
    print("moment_sums", digest(moment_sums(x, y, None, np.arange(600) % 7, np.array([0, 600]), 7)))


def normal(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(np.float32)


def digest(*arrays: np.ndarray) -> str:
    return hashlib.md5(b"".join(array.tobytes() for array in arrays)).hexdigest()


def drawn() -> np.ndarray:
    """Atoms of three kinds on a grid whose axes are oblique: no product is 0."""
    atoms = (random.integers(0, 3, 200), random.uniform(0.5, 1, 200).astype(np.float32))
    shapes = (normal(3, density.DEGREE), METRIC, 5.0)
    densities = np.zeros((SAMPLES, np.prod(BOX) + BEHIND), np.float32)
    steps = 2.0 * random.normal(size=(SAMPLES, 200, 3))
    density.draw(steps, atoms, shapes, np.zeros(BOX, np.float32), densities)
    density.fold_x(densities, BOX[0], BOX[1] * BOX[2])
    return densities


def moments(densities: np.ndarray) -> np.ndarray:
    n, k, l = 16, 9, 11  # noqa: E741 (planes in one block; extents)
    along_z = np.ascontiguousarray(density.axis_tables(l, 34.0, BOX[2] // 2).transpose(0, 2, 1))
    along_y = density.axis_tables(k, 30.0, BOX[1] // 2)
    tables = (normal(2, n, BOX[0] // 2), along_y, along_z, 30.0, 34.0)
    size = 4 * (k + 1) * (l + 1)
    planes = (
        np.array([0, n]),
        random.integers(-3, 4, (n, 2)),
        np.array([[k, l]] * n),
        np.arange(n + 1) * size,
        np.full(n * (k + 1), l),
        np.arange(n + 1) * (k + 1),
    )
    sums = np.zeros((3, n * size))
    weights = random.uniform(size=SAMPLES).astype(np.float32)
    sharpen = random.uniform(1, 2, n * size).astype(np.float32)
    exact = (2, np.full(3, large_number(1e9)), sums)
    density.add_moments(weights, densities, tables, planes, np.array([[0]]), sharpen, exact)
    return sums


def interpolated(taps: int) -> np.ndarray:
    planes, rows, columns = 5, 11, 40
    volume = normal(24, 26, 60)

    def axis(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        return np.sort(random.integers(0, size - taps + 1, n)), normal(n, taps)

    axes = [axis(*sizes) for sizes in zip((planes, rows, columns), volume.shape, strict=True)]
    starts = np.arange(planes)[:, None] * rows * columns + np.arange(rows + 1) * columns
    values = np.zeros(planes * rows * columns, np.float32)
    wanted = np.tile(np.arange(columns), planes * rows)
    interpolate_planes(volume, *axes, np.arange(planes), starts, wanted, values)
    return values


if __name__ == "__main__":
    main()
