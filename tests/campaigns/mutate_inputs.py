"""Damage inputs of every format, and read them as the commands do.

    python tests/campaigns/mutate_inputs.py --count 2000

Every mutant has to end as one line of InputError (exit code 65), or as finite numbers. Each is
made from its seed and number alone. Reading goes on in worker processes, so that a crash outside
of the readers' own child processes is counted too. With `--keep FOLDER`, a few of the inputs that
crashed, hung or starved a native reader are stored there.
"""

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gemmi
import h5py
import mdtraj
import numpy as np
from conftest import CONFIG, UNIT_CELL, tiny_modes

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.commands.pages.contents import describe
from hpc_diffuser.crystal.lattice import grid_to_resolution
from hpc_diffuser.fit.config import load_config
from hpc_diffuser.fit.inputs import load_modes, load_target
from hpc_diffuser.io.gromacs_topology import read_gromacs_topology
from hpc_diffuser.io.maps.files import Given, read_any_map, write_any_map
from hpc_diffuser.io.maps.native import write_map, write_target
from hpc_diffuser.io.modes_file import write_modes
from hpc_diffuser.io.modes_from_files import modes_from_network, modes_from_trajectory
from hpc_diffuser.io.restraint_files import Restraints, read_table, table_of
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.io.trajectories.given import TrajectoryFiles
from hpc_diffuser.maps.diffuse_map import DiffuseMap
from hpc_diffuser.maps.target import TargetOptions, make_target
from hpc_diffuser.system import isolated
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.isolated import run_isolated

CRYSTAL = (UNIT_CELL, "P 1")
OPTIONS = TargetOptions(d_max_A=12.0, d_min_A=5.0, n_shells=3)
OTHER_MAPS = {
    "table.nxs": "mdx2", "diffuser.h5": "diffuser", "map.lat": "lat", "map.hkl": "hkl",
    "map.mtz": "mtz", "map.ccp4": "ccp4",
}  # fmt: skip
# How a message tells that a reader's process did not end by itself.
DIED = re.compile(r"its reader (crashed \((\w+)\)|was killed|was not done|asked for more)")
ENDS = {"was killed": "killed", "was not done": "time", "asked for more": "memory"}
KEPT_PER_KIND, KEPT_BYTES = 2, 16_000
HANG_S = 5
RESULTS = ("refused", "read", "failed")


# Seeds: small files of every format.


def make_seeds(folder: Path) -> None:
    """Whole inputs of every format, and what is read beside them."""
    modes, protein = tiny_modes(), build_protein()
    rng = np.random.default_rng(1)
    write_pdb(folder / "model.pdb", modes.structure, CRYSTAL)
    document = gemmi.read_structure(str(folder / "model.pdb")).make_mmcif_document()
    document.write_file(str(folder / "model.cif"))
    grid = grid_to_resolution(UNIT_CELL, (2, 2, 2), 5.0)
    values, errors = (rng.uniform(1, 9, grid.shape).astype(np.float32) for _ in range(2))
    diffuse = DiffuseMap(grid, values, "P 1", errors)
    write_modes(folder / "modes.h5", modes, {"command": "seed"})
    write_map(folder / "map.nxs", diffuse, {"command": "seed"})
    for name, to in OTHER_MAPS.items():
        one_each = replace(diffuse, grid=replace(grid, divisions=(1, 1, 1)))
        write_any_map(folder / name, one_each if to == "hkl" else diffuse, to)
    np.save(folder / "array.npy", values)
    (folder / "array.yaml").write_text(
        "".join(
            f"{n}sampling: [{-e / 2}, {e / 2}, 2]\n"
            for n, e in zip("hkl", grid.extent, strict=True)
        )
    )
    write_target(folder / "target.h5", make_target(diffuse, OPTIONS), {"command": "seed"})
    (folder / "fit.toml").write_text(CONFIG + "[crystal]\n" + f"unit_cell = {list(UNIT_CELL)}\n")
    write_pdb(folder / "protein.pdb", protein, CRYSTAL)
    # Bonds hardly stretched: what tears them is refused.
    frames = protein.positions + rng.normal(scale=0.05, size=(4, len(protein), 3))
    trajectory = mdtraj.Trajectory(frames / 10, mdtraj.load_topology(str(folder / "protein.pdb")))
    for ending in ("xtc", "trr", "dcd"):
        trajectory.save(str(folder / f"md.{ending}"))
    some = modes.structure
    constants, places = np.linspace(0, 9, len(some)), np.arange(len(some))
    restraints = Restraints(some, places, some.b_factors_A2, constants, 300.0, 0.005, "all")
    (folder / "restraints.csv").write_bytes(table_of(restraints, {"command": "seed"}))
    atoms = "".join(f"{i} C 1 ALA {a} 1 0 12 ; 0\n" for i, a in enumerate(some.atom_names, 1))
    (folder / "system.top").write_text(
        f'#include "none.itp"\n[ moleculetype ]\nP 3\n#ifndef NONE\n[ atoms ]\n{atoms}#endif\n'
        "[ system ]\nP\n[ molecules ]\nP 1\nSOL 9\n"
    )
    with h5py.File(folder / "md.h5", "w") as file:
        file["coordinates"] = (frames / 10).astype(np.float32)
        file["coordinates"].attrs["units"] = "nanometers"


# Damage to bytes, to text and to what an HDF5 file holds.

NUMBERS = (0, 1, -1, 2, 9, 255, 10**6, 2**31 - 1, -(2**31), 2**30, 2**62, -(2**63))
WORDS = (
    b"nan", b"inf", b"-inf", b"1e400", b"1e308", b"-1e30", b"0", b"-1", b"9" * 30, b"1e-320",
    b"2147483648", b"?", b"'", b'"', b"[[[[", b"\0", b"\xff\xfe", b"data_", b"loop_", b"true",
)  # fmt: skip


def span(rng: np.random.Generator, data: bytes) -> tuple[int, int]:
    """Two places, rarely far apart."""
    first = int(rng.integers(len(data)))
    return first, min(len(data), first + int(2 ** rng.uniform(0, math.log2(len(data) + 1))))


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(len(data), size=rng.integers(1, 9)):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: int(rng.integers(len(data)))]


def zero(rng: np.random.Generator, data: bytes) -> bytes:
    first, last = span(rng, data)
    return data[:first] + bytes(last - first) + data[last:]


def remove(rng: np.random.Generator, data: bytes) -> bytes:
    first, last = span(rng, data)
    return data[:first] + data[last:]


def duplicate(rng: np.random.Generator, data: bytes) -> bytes:
    first, last = span(rng, data)
    return data[:last] + data[first:]


def insert(rng: np.random.Generator, data: bytes) -> bytes:
    first, last = span(rng, data)
    return data[:first] + rng.bytes(min(last - first, 1000)) + data[first:]


def number(rng: np.random.Generator, data: bytes) -> bytes:
    """Another whole number at a place where headers have them, most often near the start."""
    width = int(rng.choice([4, 4, 8]))
    reach = min(len(data) - width, int(rng.choice([100, 400, len(data)])))
    place = 4 * int(rng.integers(max(1, reach // 4)))
    value = int(rng.choice(NUMBERS)) % 256**width
    order = str(rng.choice(["little", "big"]))
    return data[:place] + value.to_bytes(width, order) + data[place + width :]


def word(rng: np.random.Generator, data: bytes) -> bytes:
    """Another word or number in a text."""
    words = list(re.finditer(rb"[^\s,\[\]]+", data))
    if not words:
        return data
    old = words[int(rng.integers(len(words)))]
    new = WORDS[int(rng.integers(len(WORDS)))]
    if rng.random() < 0.5:  # in fixed columns
        new = new[: len(old[0])].rjust(len(old[0]))
    return data[: old.start()] + new + data[old.end() :]


SETTINGS = (
    b"0",
    b"1",
    b"3",
    b"0.25",
    b"1e9",
    b"[0.0, 0.3]",
    b"[1, 2, 3]",
    b'"auto"',
    b"true",
    b"{}",
)


def setting(rng: np.random.Generator, data: bytes) -> bytes:
    """Another value of a key, the text being whole."""
    values = list(re.finditer(rb"(?<== ).+", data))
    if not values:
        return data
    old = values[int(rng.integers(len(values)))]
    return data[: old.start()] + SETTINGS[int(rng.integers(len(SETTINGS)))] + data[old.end() :]


def lines(rng: np.random.Generator, data: bytes) -> bytes:
    """Two lines change places, or one comes again."""
    rows = data.split(b"\n")
    i, j = rng.integers(len(rows), size=2)
    rows[i], rows[j] = rows[j], rows[i if rng.random() < 0.5 else j]
    return b"\n".join(rows)


# Small damage more often: what is left of a file is then read further.
BYTES = (*[flip] * 4, *[number] * 4, truncate, zero, remove, duplicate, insert)
TEXT = (*BYTES, *[word] * 6, *[lines] * 3)
VALUES = (0, -1, 1e-300, 1e300, 1e6, np.nan, np.inf, 2.0**40, 1e-6)


def content(rng: np.random.Generator, path: Path) -> None:
    """Another value, shape or type of a dataset or attribute, the file's structure being whole."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name))
        name = str(rng.choice(names))
        item = file[name]
        if isinstance(item, h5py.Group) or rng.random() < 0.2:
            place = file if rng.random() < 0.5 else item
            if len(place.attrs):
                place.attrs[str(rng.choice(list(place.attrs)))] = odd_value(rng, np.zeros(6))
            return
        value = item[()]
        del file[name]
        file[name] = odd_value(rng, np.asarray(value))


def odd_value(rng: np.random.Generator, value: np.ndarray) -> object:
    """Something else in place of an array."""
    odd = VALUES[int(rng.integers(len(VALUES)))]
    if value.dtype.kind not in "iufb":
        return [b"\xff" * 9, b"", "x" * 1000, 7.0][int(rng.integers(4))]
    with np.errstate(invalid="ignore"):  # damaged before
        numbers = value.astype(float)
    choice = int(rng.integers(7))
    if choice == 0:
        return odd
    if choice == 1:
        return numbers[: len(numbers) // 2] if numbers.ndim else "text"
    if choice == 2:
        return np.broadcast_to(numbers, (2, *numbers.shape))
    if choice == 3:
        return np.full(numbers.shape, b"text")
    if choice == 4:
        return numbers + odd
    if choice == 5:
        with np.errstate(invalid="ignore"):
            return numbers * odd
    numbers.reshape(-1)[int(rng.integers(max(numbers.size, 1))) :][:1] = odd
    return numbers


# Reading, as the commands do.


def finite(*arrays: np.ndarray | None) -> None:
    """Numbers that were accepted are numbers."""
    for array in arrays:
        assert array is None or np.isfinite(array).all(), "accepted numbers that are not finite"


def read_structure_file(path: Path, _seeds: Path) -> None:
    modes = modes_from_network(path, 3)
    finite(modes.structure.positions, modes.structure.b_factors_A2, modes.amplitudes_A)


def read_trajectory_file(path: Path, seeds: Path) -> None:
    protein = seeds / "protein.pdb"
    modes = modes_from_trajectory(TrajectoryFiles(path, protein, protein, "name CA"), 3)
    finite(modes.structure.positions, modes.vectors, modes.amplitudes_A)


def read_map_file(path: Path, seeds: Path) -> None:
    if path.suffix == ".npy":
        shutil.copy(seeds / "array.yaml", path.with_suffix(".yaml"))
    # Voxels at integer hkl only lie in the halos.
    options = replace(OPTIONS, halo_radius=0.0) if path.suffix == ".hkl" else OPTIONS
    target = make_target(read_any_map(path, Given(unit_cell=UNIT_CELL)).diffuse, options)
    finite(target.intensity, target.errors, target.shell_edges)


def read_config(path: Path, _seeds: Path) -> None:
    config = load_config(path)
    modes = load_modes(config)
    target = load_target(config, modes)
    finite(modes.structure.positions, modes.vectors, modes.amplitudes_A, modes.unit_cell)
    finite(target.intensity, target.errors, target.shell_edges)


def read_system(path: Path, seeds: Path) -> None:
    read_gromacs_topology(path)


def read_restraints(path: Path, seeds: Path) -> None:
    read_table(path)


def read_among_inputs(path: Path, seeds: Path) -> None:
    """Where the files lie that the config asks for."""
    read_config(Path(shutil.copy(path, seeds / f"damaged-{os.getpid()}.toml")), seeds)


def read_beside(name: str) -> Callable[[Path, Path], None]:
    """Read through a config that lies beside the mutant and asks for it by its name."""

    def read(path: Path, seeds: Path) -> None:
        text = (seeds / "fit.toml").read_text()
        for other in ("modes.h5", "target.h5"):
            text = text.replace(f'"{other}"', f'"{(path if other == name else seeds / other)}"')
        path.with_suffix(".toml").write_text(text)
        read_config(path.with_suffix(".toml"), seeds)

    return read


def info(path: Path, _seeds: Path) -> None:
    """What `hpc-diffuser info` prints."""
    text = describe(path)
    assert "nan" not in text and " inf" not in text, text


# Format → seed, mutators, readers of which each mutant meets one.
FORMATS = {
    "PDB": ("model.pdb", TEXT, (info, read_structure_file)),
    "mmCIF": ("model.cif", TEXT, (info, read_structure_file)),
    "XTC": ("md.xtc", BYTES, (read_trajectory_file,)),
    "TRR": ("md.trr", BYTES, (read_trajectory_file,)),
    "DCD": ("md.dcd", BYTES, (read_trajectory_file,)),
    "MDTraj": ("md.h5", (*BYTES, *[content] * 9), (read_trajectory_file,)),
    "map": ("map.nxs", (*BYTES, *[content] * 9), (info, read_map_file)),
    "mdx2": ("table.nxs", (*BYTES, *[content] * 9), (info, read_map_file)),
    "diffuser": ("diffuser.h5", (*BYTES, *[content] * 9), (read_map_file,)),
    "lattice": ("map.lat", BYTES, (info, read_map_file)),
    "hkl": ("map.hkl", TEXT, (read_map_file,)),
    "MTZ": ("map.mtz", BYTES, (info, read_map_file)),
    "CCP4": ("map.ccp4", BYTES, (info, read_map_file)),
    "eryx": ("array.npy", TEXT, (read_map_file,)),
    "target": ("target.h5", (*BYTES, *[content] * 9), (info, read_beside("target.h5"))),
    "modes": ("modes.h5", (*BYTES, *[content] * 9), (info, read_beside("modes.h5"))),
    "GROMACS": ("system.top", TEXT, (read_system,)),
    "restraints": ("restraints.csv", TEXT, (read_restraints,)),
    "TOML": ("fit.toml", (*[setting] * 15, *TEXT), (read_among_inputs,)),
}


def make_mutant(seed: int, i: int, seeds: Path, folder: Path) -> tuple[str, Path, Callable]:
    """The i-th mutant: its format, its file in `folder`, and how it is to be read."""
    rng = np.random.default_rng([seed, i])
    kind = list(FORMATS)[i % len(FORMATS)]
    name, mutators, readers = FORMATS[kind]
    path = folder / name
    shutil.copy(seeds / name, path)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        mutate = mutators[int(rng.integers(len(mutators)))]
        if mutate is content:
            # One that was damaged before may be beyond what h5py opens: damaged enough.
            with suppress(OSError, KeyError, ValueError, RuntimeError, TypeError):
                content(rng, path)
        elif path.stat().st_size > 8:
            path.write_bytes(mutate(rng, path.read_bytes()))
    return kind, path, readers[int(rng.integers(len(readers)))]


def outcome(read: Callable[[Path, Path], None], path: Path, seeds: Path) -> tuple[str, str]:
    """("read" or "refused" or "failed", the message)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a second line on the user's screen
            read(path, seeds)
    except InputError as exc:
        message = str(exc)
        return ("failed" if "\n" in message or not message else "refused"), message
    except BaseException as exc:
        return "failed", f"{type(exc).__name__}: {exc}"
    return "read", ""


def load_raw(trajectory: str, topology: str) -> dict[str, np.ndarray]:
    """mdtraj's reader alone, without the look at the frames' headers before it."""
    return {"xyz": mdtraj.load(trajectory, top=topology).xyz}


def unguarded(kind: str, path: Path, seeds: Path, message: str) -> str:
    """What would have come of this file in a process without a child: "" if it lives."""
    if kind in ("XTC", "TRR", "DCD") and path.stat().st_size:
        import mutate_inputs  # so that the child can import it too

        try:
            run_isolated(mutate_inputs.load_raw, [path, seeds / "protein.pdb"], "raw")
        except InputError as exc:
            message = str(exc)
    found = DIED.search(message)
    return "" if found is None else found[2] or ENDS[found[1]]


def work(args: argparse.Namespace, first: int, step: int, seeds: Path) -> None:
    """Read mutants first, first + step, ...; a line of output for each."""
    isolated.BASE_CPU_S = HANG_S
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(seeds)
        for i in range(first, args.count, step):
            print(i, flush=True)
            kind, path, read = make_mutant(args.seed, i, seeds, Path(folder))
            result, message = outcome(read, path, seeds)
            death = unguarded(kind, path, seeds, message)
            print(i, kind, result, death or "-", " ".join(message.split()), sep="\t", flush=True)


def drive(args: argparse.Namespace, first: int, step: int, seeds: Path, note: Callable) -> None:
    """Run a worker, and after its death another one from the next mutant on."""
    while first < args.count:
        command = [sys.executable, __file__, "--count", args.count, "--seed", args.seed]
        command += ["--worker", first, step, seeds]
        with subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, text=True
        ) as worker:
            last, done = first, True
            for line in worker.stdout:
                i, _, rest = line.rstrip("\n").partition("\t")
                last, done = int(i), bool(rest)
                if done:
                    note(last, *rest.split("\t", 3))
        if not done or worker.returncode:
            kind = list(FORMATS)[last % len(FORMATS)]
            note(last, kind, "failed", "-", f"the worker died with code {worker.returncode}")
        first = last + step


def keep(args: argparse.Namespace, i: int, kind: str, death: str, seeds: Path) -> None:
    """Store a mutant that killed its reader, if there are few like it."""
    with tempfile.TemporaryDirectory() as folder:
        _, path, _ = make_mutant(args.seed, i, seeds, Path(folder))
        like = list(args.keep.glob(f"{kind.lower()}-{death.lower()}-*"))
        if len(like) < KEPT_PER_KIND and path.stat().st_size <= KEPT_BYTES:
            shutil.copy(path, args.keep / f"{kind.lower()}-{death.lower()}-{i}{path.suffix}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for inputs that killed their reader")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        first, step, seeds = args.worker
        work(args, int(first), int(step), Path(seeds))
        return 0
    counts: Counter = Counter()
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder)
        make_seeds(seeds)

        def note(i: int, kind: str, result: str, death: str, message: str) -> None:
            counts[kind, result] += 1
            if death != "-":
                counts[kind, death] += 1
                if args.keep:
                    keep(args, i, kind, death, seeds)
            if result == "failed":
                print(f"mutant {i} ({kind}) failed: {message}", flush=True)
            done = sum(counts[k, r] for k in FORMATS for r in RESULTS)
            if done % 100 == 0:
                print(f"{done} of {args.count}", file=sys.stderr, flush=True)

        with ThreadPoolExecutor(args.workers) as pool:
            runs = [
                pool.submit(drive, args, w, args.workers, seeds, note) for w in range(args.workers)
            ]
            for run in runs:
                run.result()
    deaths = sorted({what for _, what in counts} - set(RESULTS))
    for kind in FORMATS:
        ends = ", ".join(f"{counts[kind, d]} {d}" for d in deaths if counts[kind, d]) or "none"
        results = ", ".join(f"{counts[kind, r]:4d} {r}" for r in RESULTS)
        print(f"{kind:7s} {results}; native readers dead: {ends}")
    total = {r: sum(counts[kind, r] for kind in FORMATS) for r in RESULTS}
    tally = ", ".join(f"{n} {r}" for r, n in total.items())
    print(f"{sum(total.values())} mutants: {tally}")
    return int(total["failed"] > 0 or sum(total.values()) != args.count)


if __name__ == "__main__":
    sys.exit(main())
