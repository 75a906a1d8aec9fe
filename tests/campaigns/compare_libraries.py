"""Not a test: one sample's transform by this program and by libraries, side by side on one core.

    pip install finufft pyfftw
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \\
        python tests/campaigns/compare_libraries.py bench.toml

Form factors are a sum of radial functions for the libraries' transforms, which have to be done
once for each; the time given is that of one such component, without multiplying by them.
"""

import sys
from pathlib import Path

import finufft
import numpy as np
import pyfftw
import scipy.fft
from profile_density import seconds

from hpc_diffuser.commands.benchmark import Case
from hpc_diffuser.crystal.atom_factors import form_factors
from hpc_diffuser.crystal.lattice import fractionalization
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.scattering.density import DensityTransform
from hpc_diffuser.scattering.direct import DirectTransform
from hpc_diffuser.scattering.shapes import SAMPLING


def components_needed(structure, d_min: float, tolerance: float) -> tuple[int, float]:
    """Rank of the form factors, weighted by their numbers of atoms, for a relative rms error."""
    elements, counts = np.unique(structure.elements, return_counts=True)
    s = np.linspace(0, 1 / d_min, 200)
    table = form_factors(elements, s**2) * np.sqrt(counts) * s[:, None]
    table /= np.sqrt(np.sum(table**2, axis=1, keepdims=True)) + 1e-12
    values = np.linalg.svd(table, compute_uv=False)
    errors = np.sqrt(1 - np.cumsum(values**2) / np.sum(values**2))
    rank = int(np.argmax(errors < tolerance)) + 1
    return rank, float(errors[rank - 1])


def main() -> None:
    """Print a table for a config's model."""
    case = Case(load_config(Path(sys.argv[1])))
    model = case.model(Ranks())
    band, structure = model.band, case.modes.structure
    part = model.coarse.transform.slab
    configurations = np.repeat(structure.positions[None], 8, axis=0)
    for make in (DensityTransform, DirectTransform):
        transform = make(structure, part)
        elapsed = seconds(lambda t=transform: t.moments(configurations), 3) / 8
        print(f"{make.__name__:34s} {1e3 * elapsed:8.1f} ms")

    shape = band.grid.shape
    angles = structure.positions @ fractionalization(band.grid.unit_cell).T
    angles = (2 * np.pi * angles / np.array(band.grid.divisions)).astype(np.float32)
    x, y, z = (np.ascontiguousarray(a) for a in (angles + np.pi).T % (2 * np.pi) - np.pi)
    strengths = np.ones(len(x), np.complex64)
    elapsed = seconds(lambda: finufft.nufft3d1(x, y, z, strengths, shape, eps=1e-3, nthreads=1))
    print(f"{'finufft, type 1':34s} {1e3 * elapsed:8.1f} ms per component")

    padded = [scipy.fft.next_fast_len(int(np.ceil(SAMPLING * n)), real=True) for n in shape]
    density = np.zeros(padded, np.float32)
    elapsed = seconds(lambda: scipy.fft.rfftn(density, workers=1))
    print(f"{'scipy.fft.rfftn ' + str(padded):34s} {1e3 * elapsed:8.1f} ms per component")
    plan = pyfftw.builders.rfftn(density, threads=1, planner_effort="FFTW_MEASURE")
    print(f"{'pyfftw rfftn ' + str(padded):34s} {1e3 * seconds(plan):8.1f} ms per component")
    rank, error = components_needed(structure, band.d_min, 1e-3)
    print(f"components for the form factors: {rank} (error {error:.1e})")


if __name__ == "__main__":
    main()
