"""Open what `export` writes in the programs that it is meant for: ProDy and PyMOL.

They are not among this project's requirements, and need a Python of their own:

    python tests/campaigns/open_exports.py write FOLDER          # with hpc-diffuser
    python3 -m venv prody && prody/bin/pip install prody
    prody/bin/python tests/campaigns/open_exports.py prody FOLDER
    python3 tests/campaigns/open_exports.py pymol FOLDER         # with Debian's python3-pymol

The last two print, of each file, how far what the program reads is from what was exported.
"""

import os
import sys
from pathlib import Path

import numpy as np

MODELS, REACH = 20, 2.0
EXPORTS = (
    ("modes.nmd", {}),
    ("path.pdb", {"write": "mode", "mode": 2, "reach": REACH, "models": MODELS}),
    ("path.dcd", {"write": "mode", "mode": 2, "reach": REACH, "models": MODELS}),
    ("ensemble.dcd", {"write": "ensemble", "models": 100}),
    ("anisou.pdb", {"write": "anisou"}),
    ("scene.pml", {"reach": REACH, "models": MODELS}),
    ("scene.cxc", {"reach": REACH, "models": MODELS}),
)
ARROW_ENDS = slice(18, 21)  # of the numbers of a cylinder and a cone: the cone's tip
ORDER = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)  # U11 U22 U33 U12 U13 U23


def write() -> None:
    """All kinds of files of the built-in example's modes, and the numbers that are in them."""
    from hpc_diffuser.commands import export
    from hpc_diffuser.commands.examples.four_helices import example_modes
    from hpc_diffuser.io.modes_file import write_modes

    modes = example_modes()
    write_modes(Path("modes.h5"), modes, {})
    for name, words in EXPORTS:
        export.run(export.Options(source="modes.h5", output=name, **words))
    fields = modes.amplitudes_A[:, None, None] * modes.vectors
    standing = modes.structure.atom_names == "CA"
    u = np.einsum("mni,mnj->nij", fields, fields)
    np.savez("truth.npz", mean=modes.structure.positions, fields=fields, u=u, standing=standing)


def prody() -> None:
    """All of them."""
    import prody

    prody.confProDy(verbosity="error")
    print("ProDy", prody.__version__)
    mean, fields, u = truth()
    found, atoms = prody.parseNMD("modes.nmd", type=prody.PCA)
    arrays = found.getArray().T * np.sqrt(found.getEigvals())[:, None]
    tell("modes.nmd, positions", atoms.getCoords(), mean)
    tell("modes.nmd, modes by their scales", arrays.reshape(fields.shape), fields)
    tell("modes.nmd, ProDy's ⟨|u|²⟩", prody.calcSqFlucts(found), np.trace(u, axis1=1, axis2=2))
    tell("path.pdb", prody.parsePDB("path.pdb").getCoordsets(), path(mean, fields))
    tell("path.dcd", prody.parseDCD("path.dcd").getCoordsets(), path(mean, fields))
    tell_ensemble(prody.parseDCD("ensemble.dcd").getCoordsets(), mean, fields)
    atoms = prody.parsePDB("anisou.pdb")
    tell_displacements(atoms.getBetas(), atoms.getAnisous(), u)
    tell("scene-mode1.pdb", prody.parsePDB("scene-mode1.pdb").getCoordsets(), path(mean, fields, 0))
    tell_scene(prody.parsePDB("scene-mean.pdb").getBetas(), u)


def pymol() -> None:
    """All but the NMD; and pictures of what the script shows: scene-1.png, scene-2.png."""
    import pymol as program
    from pymol import cmd

    program.finish_launching(["pymol", "-cq"])
    cmd.feedback("disable", "all", "everything")
    cmd.set("retain_order", 1)
    print("PyMOL", cmd.get_version()[0])
    mean, fields, u = truth()
    cmd.load("path.pdb", "path")
    tell("path.pdb", states(cmd, "path"), path(mean, fields))
    cmd.load("path-atoms.pdb", "played")
    cmd.load_traj("path.dcd", "played", state=1)
    tell("path.dcd", states(cmd, "played"), path(mean, fields))
    cmd.load("ensemble-atoms.pdb", "ensemble")
    cmd.load_traj("ensemble.dcd", "ensemble", state=1)
    tell_ensemble(states(cmd, "ensemble"), mean, fields)
    cmd.load("anisou.pdb", "anisou")
    atoms = cmd.get_model("anisou").atom
    tell_displacements([a.b for a in atoms], [a.u_aniso for a in atoms], u)
    cmd.delete("all")
    cmd.do("@scene.pml")
    cmd.sync()
    print("scene.pml:", {name: cmd.get_type(name) for name in cmd.get_names()})
    print("scene.pml, shown:", cmd.get_names(enabled_only=1))
    tell("scene.pml, mode_1", states(cmd, "mode_1"), path(mean, fields, 0))
    tell_scene([a.b for a in cmd.get_model("molecule").atom], u)
    tell_arrows(cmd.get_session("arrows_1", partial=1)["names"], mean, fields)
    cmd.png("scene-1.png", width=900, height=700, ray=1)
    cmd.disable("all")
    cmd.enable("molecule")
    cmd.png("scene-2.png", width=900, height=700, ray=1)


def states(cmd, name: str) -> np.ndarray:
    """All of an object's: (S, N, 3) Å."""
    return np.array([cmd.get_coords(name, i + 1) for i in range(cmd.count_states(name))])


def tell_scene(b, u: np.ndarray) -> None:
    """The column of B-factors holds rms displacements."""
    rms = np.sqrt(np.trace(u, axis1=1, axis2=2))
    tell("scene-mean.pdb, rms displacements", np.array(b), rms)


def tell_arrows(names, mean: np.ndarray, fields: np.ndarray) -> None:
    """Where the cones of the graphics object end, as PyMOL keeps it."""
    with np.load("truth.npz") as file:
        standing = file["standing"]
    moved = REACH * fields[0, standing]
    lengths = np.linalg.norm(moved, axis=1)
    times = np.ceil(6 / lengths.max())
    long = times * lengths >= 1
    numbers = np.array(names[0][5][2][0][0][1])
    tell(
        "scene.pml, arrows",
        numbers.reshape(long.sum(), -1)[:, ARROW_ENDS],
        (mean[standing] + times * moved)[long],
    )


def truth() -> list[np.ndarray]:
    """Positions (N, 3) Å, modes times their amplitudes (M, N, 3) Å, U (N, 3, 3) Å²."""
    with np.load("truth.npz") as file:
        return [file[name] for name in ("mean", "fields", "u")]


def path(mean: np.ndarray, fields: np.ndarray, row: int = 1) -> np.ndarray:
    """Along a mode, the second one: (S, N, 3) Å."""
    steps = REACH * np.sin(2 * np.pi * np.arange(MODELS) / MODELS)
    return mean + steps[:, None, None] * fields[row]


def tell_ensemble(frames: np.ndarray, mean: np.ndarray, fields: np.ndarray) -> None:
    """The covariance of the modes' coefficients, in units of their variances, is 1."""
    rows = fields.reshape(len(fields), -1)
    found = np.linalg.lstsq(rows.T, (frames - mean).reshape(len(frames), -1).T, rcond=None)[0]
    tell("ensemble.dcd, covariance of coefficients", np.cov(found, bias=True), np.eye(len(rows)))


def tell_displacements(b_A2, anisotropic_A2, u: np.ndarray) -> None:
    """B and U of all atoms."""
    b = 8 * np.pi**2 / 3 * np.trace(u, axis1=1, axis2=2)
    tell("anisou.pdb, B", np.array(b_A2), b)
    tell("anisou.pdb, U", np.array(anisotropic_A2), u[:, ORDER[0], ORDER[1]])


def tell(what: str, found: np.ndarray, expected: np.ndarray) -> None:
    """The largest difference, of arrays of one shape."""
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    print(f"{what}: {found.shape}, off by at most {np.abs(found - expected).max():.1e}")


if __name__ == "__main__":
    action, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    {"write": write, "prody": prody, "pymol": pymol}[action]()
