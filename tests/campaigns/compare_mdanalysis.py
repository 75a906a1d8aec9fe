"""The same numbers by MDAnalysis: RMSIP of halves and thirds, cosine content of the first modes.

    python tests/campaigns/compare_mdanalysis.py trajectory.xtc topology.pdb 6o2h.pdb

in an environment that has both (pip install MDAnalysis). Both get the same superposed frames.
MDAnalysis diagonalises the covariance of all coordinates; its integrals are Simpson's.
"""

import sys
import warnings
from pathlib import Path

import MDAnalysis
import numpy as np
from MDAnalysis.analysis import pca

from hpc_diffuser.io.modes_from_files import modes_from_trajectory
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.io.trajectories.in_crystal import crystal_frames
from hpc_diffuser.motion.convergence import PAIRS


def components(frames: np.ndarray) -> tuple:
    """MDAnalysis' principal components of frames (F, N, 3), and the first ten's coefficients."""
    universe = MDAnalysis.Universe.empty(frames.shape[1], trajectory=True)
    universe.add_TopologyAttr("types")
    universe.load_new(frames.astype(np.float32))
    found = pca.PCA(universe, select="all", align=False, n_components=10).run()
    return found, found.transform(universe.atoms, n_components=10)


def main() -> None:
    """Print both, side by side."""
    warnings.simplefilter("ignore")
    files = TrajectoryFiles(*(Path(name) for name in sys.argv[1:4]))
    frames = crystal_frames(files).positions
    ours = modes_from_trajectory(files, 10).convergence
    assert ours is not None
    print(f"MDAnalysis {MDAnalysis.__version__}")
    print("cosine content   ours   MDAnalysis")
    coefficients = components(frames)[1]
    for i in range(10):
        theirs = pca.cosine_content(coefficients, i)
        print(f"  mode {i + 1:2d}     {ours.cosine_content[i]:8.4f} {theirs:8.4f}", flush=True)
    print("RMSIP            ours   MDAnalysis")
    parts = {}
    for n in (2, 3):
        length = len(frames) // n
        parts[n] = [components(frames[i * length : (i + 1) * length])[0] for i in range(n)]
    for k, (name, n, i, j) in enumerate(PAIRS):
        theirs = parts[n][i].rmsip(parts[n][j], n_components=10)
        print(f"  {name} {i + 1}, {j + 1} {ours.rmsip[k]:8.4f} {theirs:8.4f}")


if __name__ == "__main__":
    main()
