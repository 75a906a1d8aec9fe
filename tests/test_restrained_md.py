"""The script of restrained dynamics: by a stand-in for GROMACS, and a step of the real one."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import environment

SCRIPTS = Path(__file__).resolve().parent.parent / "jobscripts"
STEPS = {
    "system": ("protein", "topology", "box", "water", "ions"),
    "free": ("minimise", "volume", "pressure", "production", "modes"),
    "restrained-1": ("restraints", "equilibrate", "production", "modes"),
    "restrained-2": ("restraints", "equilibrate", "production", "modes"),
}
# It notes its arguments and makes the files that the next step needs. FAIL names what fails,
# REACHED the last step of simulations.
GMX = """\
#!/bin/bash
echo "$(basename "$0") $*" >> "$NOTES"
while [ $# -gt 0 ]; do
    case $1 in
        pdb2gmx | editconf | solvate | grompp | genion | mdrun | dump) kind=$1 ;;
        -deffnm) name=$2 ;;
        -o) output=$2 ;;
    esac
    shift
done
[ -n "$FAIL" ] && [ "$FAIL" == "$kind" ] && { echo "Fatal error: as asked" >&2; exit 1; }
[ -n "$output" ] && echo made > "$output"
[ "$kind" == mdrun ] && echo made > "$name.cpt"
[ "$kind" == mdrun ] && [ -n "$SIGNAL" ] && {
    printf '\\n\\nReceived the %s signal, stopping within 100 steps\\n\\n' "$SIGNAL" >&2; exit 1; }
[ "$kind" == dump ] && echo "step = ${REACHED:-5000}"
if [ "$kind" == pdb2gmx ]; then
    printf '#ifdef POSRES\\n#include "posre.itp"\\n#endif\\n[ molecules ]\\n' > topol.top
    printf '#ifdef POSRES\\n#include "posre_B.itp"\\n#endif\\n' > topol_B.itp
fi
exit 0
"""
PDB = """\
ATOM      1  N  AALA A   1      11.104   6.134  -6.504  0.60 10.00           N
ATOM      2  N  BALA A   1      11.104   6.134  -6.504  0.40 10.00           N
ATOM      3  H  AALA A   1      11.104   6.134  -6.504  0.60 10.00           H
TER
HETATM    4  O   HOH A   2      11.104   6.134  -6.504  1.00 10.00           O
"""


@pytest.fixture
def run(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """The script in `tmp_path` with stand-ins: `run("2", PRODUCTION_PS="10")`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("gmx", "hpc-diffuser"):
        (programs / name).write_text(GMX)
        (programs / name).chmod(0o755)
    (tmp_path / "crystal.pdb").write_text(PDB)

    def script(passes: str, program: str = "restrained-md.sh", **variables: str):
        path = f"{programs}:{os.environ['PATH']}"
        notes = str(tmp_path / "notes")
        settings = {"PATH": path, "NOTES": notes, "EQUILIBRATE_PS": "10", "PRODUCTION_PS": "10"}
        settings |= {"THREADS": "1", "STEPS": str(SCRIPTS / "restrained-md.sh")}
        return subprocess.run(
            ["bash", str(SCRIPTS / program), "crystal.pdb", passes],
            cwd=tmp_path,
            env=environment(**(settings | variables)),
            capture_output=True,
            text=True,
        )

    return script


def done(folder: Path) -> dict[str, set[str]]:
    """What is done, by folder."""
    found: dict[str, set[str]] = {}
    for path in (folder / "restrained-md").glob("*/*.done"):
        found.setdefault(path.parent.name, set()).add(path.stem)
    return found


def notes(folder: Path) -> list[str]:
    """How the stand-ins were called since the last look."""
    lines = (folder / "notes").read_text().splitlines()
    (folder / "notes").write_text("")
    return lines


@pytest.mark.parametrize("program", ["restrained-md.sh", "restrained-md.sbatch"])
@pytest.mark.parametrize("passes", ["0", "1", "2"])
def test_steps(run, tmp_path, passes, program):
    """All of them, by either script; each restrained pass is made from the one before."""
    found = run(passes, program)
    assert found.returncode == 0, found.stderr
    folders = list(STEPS)[: 2 + int(passes)]
    assert done(tmp_path) == {folder: set(STEPS[folder]) for folder in folders}
    tables = [line for line in notes(tmp_path) if line.startswith("hpc-diffuser restraints")]
    assert len(tables) == int(passes)
    for table, before in zip(tables, ("../free", "../restrained-1"), strict=False):
        assert f"--trajectory {before}/production.xtc" in table
        assert ("--previous ../restrained-1/restraints.csv" in table) == (before != "../free")


def test_restraints_are_included(run, tmp_path):
    """In each molecule's file, where they are asked for, from the pass's own folder."""
    assert run("1").returncode == 0
    folder = tmp_path / "restrained-md"
    block = '#ifdef RESTRAINED\n#include "restraints{}.itp"\n#endif\n'
    assert block.format("") in (folder / "system" / "topol.top").read_text()
    assert block.format("_B") in (folder / "system" / "topol_B.itp").read_text()
    free, held = (
        (folder / name / "production.mdp").read_text() for name in ("free", "restrained-1")
    )
    assert "define" not in free and "define = -DRESTRAINED" in held
    assert f"include = -I{folder / 'restrained-1'}" in held
    atoms = (folder / "system" / "protein.pdb").read_text().splitlines()
    assert atoms == ["ATOM      1  N   ALA A   1" + PDB.splitlines()[0][26:], "TER"]


def test_settings_reach_the_simulation(run, tmp_path):
    """Lengths, temperature, step, water; heavy hydrogens with a long step."""
    variables = {"PRODUCTION_PS": "20", "TIMESTEP_FS": "4", "TEMPERATURE": "295"}
    assert run("0", **variables, MARGIN_NM="1.4", WATER="tip4p", REACHED="99999").returncode == 0
    mdp = (tmp_path / "restrained-md" / "free" / "production.mdp").read_text()
    expected = ("dt = 0.004", "nsteps = 5000", "ref_t = 295 295", "nstxout-compressed = 2500")
    for line in (*expected, "constraints = all-bonds"):
        assert line in mdp
    lines = "\n".join(notes(tmp_path))
    assert "-d 1.4" in lines and "-heavyh" in lines and "-cs tip4p.gro" in lines


@pytest.mark.parametrize(("step", "frame", "energies"), [("4", "1", 300), ("2", "0.1", 100)])
def test_any_interval_of_frames(run, tmp_path, step, frame, energies):
    """Energies are kept every multiple of 100 steps: GROMACS warns of others, and grompp fails."""
    variables = {"TIMESTEP_FS": step, "FRAME_PS": frame, "REACHED": "99999"}
    assert run("0", **variables).returncode == 0
    mdp = (tmp_path / "restrained-md" / "free" / "production.mdp").read_text().splitlines()
    frames = round(float(frame) * 1000 / float(step))
    assert f"nstxout-compressed = {frames}" in mdp
    assert f"nstenergy = {energies}" in mdp and f"nstlog = {energies}" in mdp


def test_a_failing_step_is_named(run, tmp_path):
    """With the end of its output, and how to go on; then only what is not done is run."""
    failed = run("1", FAIL="genion")
    assert failed.returncode == 70
    assert "step ions failed with code 1; the end of" in failed.stderr
    assert (
        "Fatal error: as asked" in failed.stderr and "run the same command again" in failed.stderr
    )
    notes(tmp_path)
    assert run("1").returncode == 0
    again = notes(tmp_path)
    assert not any("pdb2gmx" in line for line in again) and any("genion" in x for x in again)
    assert run("1").returncode == 0
    assert notes(tmp_path) == []


def test_a_stopped_simulation_goes_on(run, tmp_path):
    """Where the checkpoint is not at the end: code 75; next time from it, not from the start."""
    stopped = run("0", REACHED="3000")
    assert stopped.returncode == 75 and "run again to go on" in stopped.stdout
    assert "volume" not in done(tmp_path)["free"]
    notes(tmp_path)
    assert run("0").returncode == 0
    first = next(line for line in notes(tmp_path) if " dump " not in line)
    assert first == "gmx mdrun -ntmpi 1 -ntomp 1 -deffnm volume -cpi volume.cpt -maxh -1"
    assert run("1", MAX_HOURS="0").returncode == 75


def test_a_signal_stops_it(run, tmp_path):
    """What GROMACS tells of one is no failure: code 75, and the same command goes on."""
    stopped = run("0", SIGNAL="TERM")
    assert stopped.returncode == 75 and "minimise: stopped before its end" in stopped.stdout
    assert done(tmp_path)["system"] == set(STEPS["system"]) and stopped.stderr == ""
    assert run("0").returncode == 0


def test_what_is_not_here(run, tmp_path):
    """GROMACS, and the PDB file; nothing is begun."""
    lacking = run("0", GMX="gmx_of_nowhere")
    assert lacking.returncode == 65 and "gmx_of_nowhere is not here: install it" in lacking.stderr
    (tmp_path / "crystal.pdb").unlink()
    assert "crystal.pdb: no such file" in run("0").stderr
    assert not (tmp_path / "restrained-md").exists()


def test_other_settings_want_another_folder(run, tmp_path):
    """The difference is shown, and nothing is mixed."""
    assert run("0").returncode == 0
    other = run("0", TEMPERATURE="277")
    assert other.returncode == 78 and "> TEMPERATURE=277" in other.stderr
    assert run("0", TEMPERATURE="277", FOLDER="cold").returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gmx") is None, reason="no GROMACS")
def test_gromacs_takes_the_include(data, cli, tmp_path):
    """pdb2gmx's topology with restraints of the real trajectory, by grompp, in a vacuum."""
    crystal = data / "lysozyme" / "6o2h.pdb"
    (tmp_path / "gmx.sh").write_text(
        f". {SCRIPTS}/restrained-md.sh\nREFERENCE={crystal}\nsettings\nprotein && topology\n"
    )
    gromacs = {"cwd": tmp_path, "env": environment(), "capture_output": True, "text": True}
    made = subprocess.run(["bash", "gmx.sh"], **gromacs)
    assert made.returncode == 0, made.stderr
    files = ("--trajectory", data / "lysozyme" / "trajectory.xtc", "--topology", "protein.gro")
    table = cli("restraints", *files, "--reference", crystal, "--gromacs", "topol.top")
    assert table.returncode == 0, table.stderr
    (tmp_path / "run.mdp").write_text("define = -DRESTRAINED\nintegrator = md\nnsteps = 0\n")
    words = "gmx grompp -f run.mdp -c protein.gro -r protein.gro -p topol.top -o run.tpr"
    taken = subprocess.run([*words.split(), "-maxwarn", "3"], **gromacs)
    assert taken.returncode == 0, taken.stderr
    dump = subprocess.run(["gmx", "dump", "-s", "run.tpr"], **gromacs).stdout
    restrained = (tmp_path / "restraints.itp").read_text().count("     1 ")
    assert restrained > 900 and dump.count("POSRES") >= restrained
