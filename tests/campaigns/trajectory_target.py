"""Not a test: a trajectory's own frames as the target, and what least squares makes of it.

    python tests/campaigns/trajectory_target.py ../shared/data/lysozyme work \\
        --modes 10 30 100 --prior 0 auto

The folder has `trajectory.xtc`, `topology.pdb` and `6o2h.pdb`. The map is of the frames, which move
as a whole by 0.46 Å, with noise; the model is Gaussian motion along the first principal components
of the same frames, so that no weights reproduce it. A row for each fit: the prior's weight, CC of
both kinds, mean B-factor over the crystal's, standard errors of the weights that carry 90 % of the
variance in the trajectory, how many of all are known to 10 %, how far the answers are from the
trajectory's own, and core seconds. What the commands wrote stays in the working folder.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from launching import mpirun
from least_squares import carrying

from hpc_diffuser.io.modes_file import read_modes

TRANSLATION_A = 0.46
MAP = """
[structure]
modes = "modes.h5"
[grid]
oversampling = [OVER, OVER, OVER]
d_min_A = DMIN
[parameters]
translation_sigma_A = 0.46
"""
FIT = """
[structure]
modes = "modes.h5"
n_modes = MODES
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = RANGES
translation_sigma_A = [0.05, 0.9]
[model]
samples = SAMPLES
final_samples = FINAL
[prior]
amplitudes = PRIOR
[search]
method = "least-squares"
restarts = RESTARTS
evaluations = 30
[run]
directory = "NAME"
"""
HEAD = (
    "modes  prior  weight  CC_work  CC_free  B/crystal  σ_t (Å)  ± %: median  largest  known  "
    "off the trajectory's: median  largest  evaluations  core s"
)


def main() -> None:
    """Print a row for each fit."""
    given = arguments()
    given.work.mkdir(exist_ok=True)
    make_inputs(given)
    print(HEAD, flush=True)
    for n_modes in given.modes:
        for prior in given.prior:
            print(row(n_modes, prior, fitted(n_modes, prior, given)), flush=True)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--modes", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--prior", nargs="+", default=["0", "auto"])
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--d-max", type=float, default=10.0)
    parser.add_argument("--d-min", type=float, default=2.5)
    parser.add_argument("--oversampling", type=int, default=3)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--final", type=int, default=512)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--ranks", type=int, default=1)
    return parser.parse_args()


def make_inputs(given: argparse.Namespace) -> None:
    """modes.h5 and target.h5, unless they are there."""
    names = {"trajectory": "trajectory.xtc", "topology": "topology.pdb", "reference": "6o2h.pdb"}
    files = [x for key, name in names.items() for x in (f"--{key}", str(given.data / name))]
    if not (given.work / "modes.h5").exists():
        run(given.work, "modes", *files, "--n-modes", str(max(given.modes)), "-o", "modes.h5")
    if not (given.work / "target.h5").exists():
        text = MAP.replace("OVER", str(given.oversampling)).replace("DMIN", str(given.d_min))
        (given.work / "map.toml").write_text(text)
        noise = ["--noise", str(given.noise)]
        run(given.work, "simulate", "map.toml", *files, *noise, "-o", "map.nxs")
        ends = ["--d-max", str(given.d_max), "--d-min", str(given.d_min)]
        run(given.work, "target", "map.nxs", *ends, "-o", "target.h5")


def run(folder: Path, *arguments: str, ranks: int = 1) -> None:
    """A command of the program, in the working folder; what it says is kept there."""
    launcher = [mpirun(), "-n", str(ranks)] if ranks > 1 else []
    with (folder / "said.txt").open("a") as said:
        subprocess.run(
            [*launcher, sys.executable, "-m", "hpc_diffuser", *arguments],
            cwd=folder,
            stdout=said,
            stderr=subprocess.STDOUT,
            check=True,
        )


def fitted(n_modes: int, prior: str, given: argparse.Namespace) -> dict:
    """A fit's summary, and its core seconds."""
    name = f"fit-{n_modes}-{prior}"
    source = read_modes(given.work / "modes.h5").amplitudes_A[:n_modes]
    values = {
        "RANGES": [[0.0, round(3 * float(a), 3)] for a in source],
        "MODES": n_modes,
        "SAMPLES": given.samples,
        "FINAL": given.final,
        "PRIOR": prior if prior[0].isdigit() else f'"{prior}"',
        "RESTARTS": given.restarts,
        "NAME": name,
    }
    text = FIT
    for key, value in values.items():
        text = text.replace(key, str(value))
    (given.work / f"{name}.toml").write_text(text)
    began = os.times()
    run(given.work, "fit", f"{name}.toml", ranks=given.ranks)
    now = os.times()
    seconds = sum(now[2:4]) - sum(began[2:4])  # user and system, of children
    return json.loads((given.work / name / "summary.json").read_text()) | {"core_s": seconds}


def row(n_modes: int, prior: str, found: dict) -> str:
    """One fit in a line."""
    source = np.array(found["source_mode_amplitude_A"][:n_modes])
    answer = np.array(found["answer"]["mode_amplitude_A"])
    known = found["standard_errors"]["mode_amplitude_A"]
    errors = np.array([np.nan if e is None else e for e in known]) / np.maximum(answer, 1e-9)
    large = carrying(source)
    off = np.abs(answer[large] / source[large] - 1)
    weight = (found.get("prior") or {}).get("amplitudes", 0.0)
    return (
        f"{n_modes:5d}  {prior:>5s}  {weight or 0:6.4g}  {found['cc_work']:7.4f}  "
        f"{found['cc_free']:7.4f}  {found['b_factors']['mean_ratio']:9.2f}  "
        f"{found['answer']['translation_sigma_A']:7.3f}  "
        f"{100 * np.nanmedian(errors[large]):11.2f}  {100 * np.nanmax(errors[large]):7.1f}  "
        f"{int((errors < 0.1).sum()):5d}  {np.median(off):29.3f}  {off.max():7.2f}  "
        f"{found['evaluations']:11d}  {found['core_s']:6.0f}"
    )


if __name__ == "__main__":
    main()
