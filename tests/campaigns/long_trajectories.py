"""Make long synthetic trajectories, and take their modes on 1 and 2 ranks: time, memory, bits.

    python tests/campaigns/long_trajectories.py                 # all frames, some 6 GB of files
    python tests/campaigns/long_trajectories.py --part 10       # a tenth of the frames
    python tests/campaigns/long_trajectories.py --ranks 1 2 4 --folder /scratch

The first is 100 000 frames of 2000 atoms, seven chains of the example's helices; the second 20 000
frames of 60 000 atoms, the same in water, which is left out. The chains move along fifty waves of
50 to 100 Å, every atom by 0.05 Å besides, every frame is turned anyhow. Printed are wall time and
the largest memory of any process, a rank or its reader, with half of the frames (--last) and with
all; and whether modes.h5 is the same on every number of ranks. The exit code is 1 if it is not.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from launching import OPEN_MPI, mpirun
from mdtraj.formats import XTCTrajectoryFile
from scipy.spatial.transform import Rotation

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.io.hdf5_content import hdf5_arrays
from hpc_diffuser.io.structures.files import write_pdb

ATOMS, WAVES, BOX_A = 2000, 50, 90.0
CRYSTAL = ((90.0, 90.0, 90.0, 90.0, 90.0, 90.0), "P 1")
SYSTEMS = {"protein": (100_000, ATOMS), "solvated": (20_000, 60_000)}
WRITTEN = 500  # frames at a time


def joined(*parts: Structure) -> Structure:
    """One structure of several."""
    names = parts[0].__dataclass_fields__
    return Structure(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def protein() -> Structure:
    """Chains A to G side by side, the last one cut off."""
    chain = build_protein()
    width = np.ptp(chain.positions, axis=0) + 4
    places = [(i % 2, i // 2 % 2, i // 4) for i in range(7)]
    chains = [
        replace(
            chain,
            positions=chain.positions + width * place,
            chain_ids=np.full(len(chain), "ABCDEFG"[i]),
        )
        for i, place in enumerate(places)
    ]
    whole = joined(*chains).select(np.arange(ATOMS))
    return replace(whole, positions=whole.positions - whole.positions.mean(axis=0))


def water(n_atoms: int) -> Structure:
    """Oxygens and hydrogens anywhere in the box."""
    rng = np.random.default_rng(2)
    n = n_atoms // 3
    oxygens = rng.uniform(-BOX_A / 2, BOX_A / 2, (n, 1, 3))
    offsets = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    return Structure(
        positions=(oxygens + offsets).reshape(-1, 3),
        elements=np.tile(["O", "H", "H"], n),
        atom_names=np.tile(["O", "H1", "H2"], n),
        residue_names=np.full(3 * n, "HOH"),
        residue_numbers=np.repeat(np.arange(n) % 9999 + 1, 3),
        chain_ids=np.full(3 * n, "W"),
        occupancies=np.ones(3 * n),
        b_factors_A2=np.full(3 * n, 20.0),
    )


def waves(positions: np.ndarray) -> np.ndarray:
    """Fields along which the atoms move: (WAVES, N, 3) Å, the first by 0.5 Å rms."""
    rng = np.random.default_rng(3)
    directions, towards = rng.normal(size=(2, WAVES, 3))
    towards /= np.linalg.norm(towards, axis=1)[:, None]
    lengths, phases = rng.uniform(50, 100, WAVES), rng.uniform(0, 2 * np.pi, WAVES)
    waves_of = np.cos(2 * np.pi * positions @ (towards / lengths[:, None]).T + phases).T
    fields = waves_of[:, :, None] * directions[:, None]
    fields /= np.sqrt(np.mean(np.sum(fields**2, axis=2), axis=1))[:, None, None]
    return fields * (0.5 / np.arange(1, WAVES + 1))[:, None, None]


def make(folder: Path, name: str, n_frames: int, n_atoms: int) -> tuple[Path, Path, Path]:
    """Trajectory, topology and reference, if they are not there already."""
    of_protein = protein()
    extra = n_atoms - ATOMS
    whole = joined(of_protein, water(extra)) if extra else of_protein
    path = folder / f"{name}-{n_frames}.xtc"
    topology, reference = folder / f"{name}.pdb", folder / "reference.pdb"
    write_pdb(topology, whole, CRYSTAL)
    write_pdb(reference, of_protein, CRYSTAL)
    if path.exists():
        return path, topology, reference
    rng, fields = np.random.default_rng(4), waves(of_protein.positions).reshape(WAVES, -1)
    part = path.with_suffix(".part.xtc")
    box = np.eye(3, dtype=np.float32) * BOX_A / 10
    with XTCTrajectoryFile(str(part), "w", force_overwrite=True) as file:
        for first in range(0, n_frames, WRITTEN):
            count = min(WRITTEN, n_frames - first)
            moved = (rng.standard_normal((count, WAVES)) @ fields).reshape(count, ATOMS, 3)
            moved += of_protein.positions + rng.normal(scale=0.05, size=moved.shape)
            turns = Rotation.random(count, rng=rng).as_matrix()
            for frame in np.einsum("fab,fnb->fna", turns, moved):
                solvent = whole.positions[ATOMS:] + rng.uniform(-3, 3, 3)
                xyz = np.concatenate([frame, solvent]) / 10
                file.write(xyz.astype(np.float32)[None], box=box[None])
    os.replace(part, path)
    return path, topology, reference


def modes(files: tuple[Path, Path, Path], n_ranks: int, last: int, output: Path) -> str:
    """Run the command; what it took."""
    words = ["modes", "--trajectory", files[0], "--topology", files[1], "--reference", files[2]]
    words += ["--last", str(last), "-o", output]
    launcher = [mpirun(), "-n", str(n_ranks)] if n_ranks > 1 else []
    command = [*launcher, sys.executable, "-m", "hpc_diffuser", *map(str, words)]
    begun = time.monotonic()
    child = subprocess.Popen(command, env=os.environ | OPEN_MPI, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    took = time.monotonic() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"modes ended with code {child.returncode}")
    return f"{took:8.1f} s {last / took:9.0f} frames/s {used.ru_maxrss / 1024:8.0f} MB"


def main() -> int:
    """Every system on every number of ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", type=int, default=1, help="one so manieth of the frames")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--folder", type=Path, help="to keep the trajectories in")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        return int(not all([_alike(folder, name, args) for name in args.systems]))


def _alike(folder: Path, name: str, args: argparse.Namespace) -> bool:
    n_frames, n_atoms = SYSTEMS[name]
    n_frames //= args.part
    files = make(folder, name, n_frames, n_atoms)
    size = files[0].stat().st_size / 1e6
    print(f"{name}: {n_frames} frames of {n_atoms} atoms, {size:.0f} MB", flush=True)
    found = []
    for n_ranks in args.ranks:
        for last in (n_frames // 2, n_frames):
            output = folder / f"{name}-{n_ranks}.h5"
            told = modes(files, n_ranks, last, output)
            print(f"  {n_ranks} ranks {last:7d} frames {told}", flush=True)
        found.append(hdf5_arrays(output, ["vectors", "amplitudes", "mean_positions"]))
    same = all(np.array_equal(found[0][key], each[key]) for each in found for key in each)
    print(f"  modes of all numbers of ranks: {'the same bits' if same else 'NOT THE SAME'}")
    return same


if __name__ == "__main__":
    sys.exit(main())
