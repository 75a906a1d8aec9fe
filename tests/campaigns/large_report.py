"""Make a large run without a search, and write its page: processor time, memory, size.

    python tests/campaigns/large_report.py                      # 2048 residues, 128 restarts
    python tests/campaigns/large_report.py --chains 4 --restarts 16 --keep /scratch/large

The protein is chains of the example's helices, its modes are waves, its map a pattern of waves
too; the restarts' points come closer and closer to a place. Only the final map is computed, by
`fit`, which finds that all evaluations are done. The exit code is 1 where the page takes more than
a minute of processor time, or 20 MB.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from molecules import joined

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.crystal.structure import Structure
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.run.checkpoints import checkpoint_path, write_checkpoint
from hpc_diffuser.fit.run.directory import begin_or_resume
from hpc_diffuser.fit.search.history import Hedge, History
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.maps.target import make_target, map_from_voxels
from hpc_diffuser.maps.target_options import TargetOptions
from hpc_diffuser.motion.modes import Modes

N_MODES, D_MIN_A, SAMPLES_PER_UNIT = 10, 3.0, 3
MOST_S, MOST_BYTES = 60.0, 20_000_000
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CONFIG = """\
[structure]
modes = "modes.h5"
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [0.0, 1.0]
translation_sigma_A = [0.0, 1.0]
[model]
samples = 8
final_samples = 8
[search]
restarts = {restarts}
evaluations = {evaluations}
[run]
directory = "run"
"""


def protein(chains: int) -> Structure:
    """So many chains beside each other, 64 residues each."""
    chain = build_protein()
    width, across = np.ptp(chain.positions, axis=0) + 4, int(np.ceil(chains ** (1 / 3)))
    places = [(i % across, i // across % across, i // across**2) for i in range(chains)]
    parts = [
        replace(
            chain,
            positions=chain.positions + width * place,
            chain_ids=np.full(len(chain.positions), letter),
        )
        for place, letter in zip(places, LETTERS, strict=False)
    ]
    return joined(*parts)


def waves(structure: Structure) -> Modes:
    """Modes that vary slowly over the molecule, in a cell that it fits into."""
    rng = np.random.default_rng(1)
    positions = structure.positions
    size = np.ptp(positions, axis=0)
    vectors = np.array(
        [
            np.cos(positions @ (rng.normal(size=3) * 6 / size) + rng.uniform(0, 6))[:, None]
            * rng.normal(size=3)
            for _ in range(N_MODES)
        ]
    )
    vectors *= np.sqrt(len(positions) / np.sum(vectors**2, axis=(1, 2), keepdims=True))
    cell = (*(size + 6.0), 90.0, 90.0, 90.0)
    amplitudes = 0.5 / np.arange(1, N_MODES + 1)
    return Modes(structure, vectors, amplitudes, cell, "P 1")


def write_project(folder: Path, options: argparse.Namespace) -> int:
    """Modes, target, config, and the run with all restarts done; how many voxels there are."""
    modes = waves(protein(options.chains))
    grid = grid_to_resolution(modes.unit_cell, (SAMPLES_PER_UNIT,) * 3, D_MIN_A)
    indices = grid.indices_between(np.inf, D_MIN_A)
    values = 2 + np.sin(indices @ [0.31, 0.17, 0.23]) + np.cos(indices @ [0.11, -0.27, 0.07])
    target = make_target(
        map_from_voxels(grid, indices, values, "P 1"), TargetOptions(d_max_A=20, d_min_A=D_MIN_A)
    )
    write_modes(folder / "modes.h5", modes, {"command": "made up"})
    write_target(folder / "target.h5", target, {"command": "made up"})
    text = CONFIG.format(restarts=options.restarts, evaluations=options.evaluations)
    (folder / "fit.toml").write_text(text)
    config = load_config(folder / "fit.toml")
    config.run.directory.mkdir()
    begin_or_resume(config, text)
    for restart in range(options.restarts):
        history = made_up(restart, options.evaluations)
        write_checkpoint(checkpoint_path(config.run.directory, restart), history)
    return len(target.indices)


def made_up(restart: int, evaluations: int) -> History:
    """A search that comes closer and closer to a place, each restart to one beside it."""
    rng = np.random.default_rng(restart)
    place = np.append(0.5 / np.arange(1, N_MODES + 1), 0.4) + rng.normal(0, 0.02, N_MODES + 1)
    widths = np.linspace(0.3, 0.01, evaluations)[:, None]
    points = np.clip(place + widths * rng.normal(size=(evaluations, N_MODES + 1)), 0, 1)
    objectives = 0.4 + np.sum((points - place) ** 2, axis=1) + rng.uniform(0, 0.002)
    return History(points, objectives, Hedge(np.zeros(3), np.empty((0, N_MODES + 1)), np.empty(0)))


def program(folder: Path, *words: str) -> None:
    """The program, which must succeed."""
    subprocess.run(
        [sys.executable, "-m", "hpc_diffuser", *words],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=None if words[0] == "report" else subprocess.DEVNULL,
        env=os.environ | {"NUMBA_NUM_THREADS": "1"},
    )


def measured(folder: Path) -> bool:
    """Write the page; True where it keeps to its limits."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    program(folder, "report", "run")
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report = folder / "run" / "report"
    size = (report / "index.html").stat().st_size
    files = sum(path.stat().st_size for path in report.rglob("*") if path.is_file())
    print(
        f"page: {used:.1f} s of processor time ({wall:.1f} s), at most "
        f"{after.ru_maxrss / 1024:.0f} MB of memory, {size / 1e6:.1f} MB, with its files "
        f"{files / 1e6:.1f} MB"
    )
    return used <= MOST_S and size <= MOST_BYTES


def main() -> int:
    """0 where the page keeps to its limits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--chains", type=int, default=32, help="of 64 residues (default: 32)")
    parser.add_argument("--restarts", type=int, default=128)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="folder that stays (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if not (folder / "run" / "summary.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            print(f"{64 * options.chains} residues, {write_project(folder, options)} voxels")
            program(folder, "fit", "fit.toml")
        return 0 if measured(folder) else 1


if __name__ == "__main__":
    sys.exit(main())
