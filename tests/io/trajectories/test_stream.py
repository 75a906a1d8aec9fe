"""Modes of a stream of chunks: against a direct decomposition, and what it does with bad files."""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gemmi
import h5py
import mdtraj
import numpy as np
import pytest
from builders import write_mdtraj_hdf5
from launching import launch

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.crystal.structure import Structure, superpose
from hpc_diffuser.io.hdf5_content import hdf5_arrays
from hpc_diffuser.io.modes_from_files import modes_on_ranks
from hpc_diffuser.io.structures.files import write_pdb
from hpc_diffuser.io.trajectories import files as reading
from hpc_diffuser.io.trajectories import native
from hpc_diffuser.io.trajectories import stream as streaming
from hpc_diffuser.io.trajectories.essential_dynamics import essential_dynamics, frame_projections
from hpc_diffuser.io.trajectories.files import FrameRange, TrajectoryReader, read_trajectory
from hpc_diffuser.io.trajectories.given import Analysis, TrajectoryFiles
from hpc_diffuser.io.trajectories.stream import CrystalStream, crystal_stream
from hpc_diffuser.motion.modes import atom_scales
from hpc_diffuser.parallel.communicator import Ranks
from hpc_diffuser.system.errors import InputError

CRYSTAL = ((60.0, 61.0, 62.0, 90.0, 95.0, 90.0), "P 1")
FEW, MANY = 40, 130


@pytest.fixture(scope="module")
def protein() -> Structure:
    """Ten residues of the package's own: 50 atoms."""
    whole = build_protein()
    return whole.select(np.flatnonzero(whole.residue_numbers <= 10))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, protein) -> Path:
    """The topology, which is the reference too."""
    folder = tmp_path_factory.mktemp("stream")
    write_pdb(folder / "top.pdb", replace(protein, b_factors_A2=np.linspace(9, 20, 50)), CRYSTAL)
    return folder


def moved(protein: Structure, n_frames: int, seed: int = 1) -> np.ndarray:
    """Frames with every atom in correlated motion."""
    rng = np.random.default_rng(seed)
    fields = 0.05 * rng.normal(size=(12, len(protein), 3)) / np.arange(1, 13)[:, None, None]
    away = np.einsum("fm,mac->fac", rng.standard_normal((n_frames, 12)), fields)
    return protein.positions + away + 0.02 * rng.normal(size=away.shape)


@pytest.fixture
def written(tmp_path, folder) -> Callable[..., TrajectoryFiles]:
    """Write frames, one array to a file: `written(frames, more, stride=2)`."""

    def write(*frames: np.ndarray, ending: str = "trr", **options) -> TrajectoryFiles:
        topology = mdtraj.load_topology(str(folder / "top.pdb"))
        paths = []
        for i, positions in enumerate(frames):
            paths.append(tmp_path / f"md{i}.{ending}")
            if ending == "h5":
                write_mdtraj_hdf5(paths[-1], positions, chunk=5)
                continue
            mdtraj.Trajectory(positions / 10, topology).save(str(paths[-1]))
        given = paths[0] if len(paths) == 1 else tuple(paths)
        return TrajectoryFiles(given, folder / "top.pdb", folder / "top.pdb", **options)

    return write


def backbone(structure: Structure) -> np.ndarray:
    """Rows of N, CA, C, O."""
    return np.flatnonzero(np.isin(structure.atom_names, ("N", "CA", "C", "O")))


def direct(frames: np.ndarray, scales: np.ndarray, n_modes: int) -> tuple[np.ndarray, np.ndarray]:
    """Fields and amplitudes by a whole singular value decomposition of scaled coordinates."""
    n_frames, n_atoms = frames.shape[:2]
    rows = (frames - frames.mean(axis=0)) * scales[:, None]
    _, singular, vectors = np.linalg.svd(rows.reshape(n_frames, -1), full_matrices=False)
    fields = vectors[:n_modes].reshape(-1, n_atoms, 3) / scales[:, None]
    lengths = np.sqrt(np.mean(np.sum(fields**2, axis=2), axis=1))
    return fields / lengths[:, None, None], singular[:n_modes] * lengths / np.sqrt(n_frames)


def assert_modes(vectors, amplitudes, frames, scales) -> None:
    """Equal to the direct decomposition to 1e-6, up to the fields' signs."""
    fields, expected = direct(frames, scales, len(amplitudes))
    np.testing.assert_allclose(amplitudes, expected, rtol=1e-6)
    signs = np.sign(np.sum(vectors * fields, axis=(1, 2)))
    np.testing.assert_allclose(vectors, signs[:, None, None] * fields, atol=1e-6)


@pytest.fixture
def small_rounds(monkeypatch):
    """Chunks of three frames or less, so that many rounds are needed."""
    monkeypatch.setattr(streaming, "CHUNKS", 4)
    monkeypatch.setattr(streaming, "_ROUND_BYTES", 4 * 3 * 24 * 50)


@pytest.mark.parametrize("n_frames", [FEW, MANY, 200])
@pytest.mark.parametrize("weighting", ["none", "mass", "electrons"])
def test_modes_of_a_stream(small_rounds, written, protein, n_frames, weighting):
    """By the frames' products and by the covariance: a direct decomposition of all frames.

    150 coordinates: of 40 and 130 frames the products are smaller, of 200 the covariance.
    """
    frames = moved(protein, n_frames)
    found, used = modes_on_ranks(
        written(frames), 6, Analysis(weighting=weighting), Ranks(), lambda line: None
    )
    on = superpose(
        frames.astype(np.float32).astype(float),
        protein.positions[backbone(protein)],
        backbone(protein),
    )
    elements = [gemmi.Element(str(name)) for name in protein.elements]
    scales = {
        "none": np.ones(len(protein)),
        "mass": np.sqrt([element.weight for element in elements]),
        "electrons": np.array([float(element.atomic_number) for element in elements]),
    }[weighting]
    np.testing.assert_allclose(found.structure.positions, on.mean(axis=0), atol=2e-3)
    fields, amplitudes = direct(on, scales, 6)
    # The PDB's three decimals and single precision are in the files.
    np.testing.assert_allclose(found.amplitudes_A, amplitudes, rtol=2e-4)
    np.testing.assert_allclose(np.sum(found.vectors**2, axis=(1, 2)), len(protein), rtol=1e-12)
    overlap = np.abs(np.einsum("mac,nac->mn", found.vectors * scales[:, None] ** 2, fields))
    overlap /= np.diag(overlap).max()
    assert (np.diag(overlap) > 0.3).all()
    assert used["frames"] == f"md0.trr: {n_frames} frames, 1 to {n_frames}"
    assert used["weighting"] == weighting


@pytest.mark.parametrize("n_frames", [FEW, 200])
@pytest.mark.parametrize("weighting", ["none", "mass"])
def test_exactly_a_direct_decomposition(small_rounds, written, protein, n_frames, weighting):
    """Of the very frames that the stream gives: vectors and amplitudes to 1e-6."""
    with crystal_stream(written(moved(protein, n_frames)), Ranks()) as stream:
        frames = whole(stream)
        found = essential_dynamics(stream, 8, weighting, Ranks())
        coefficients = frame_projections(stream, found, weighting, Ranks())
    scales = atom_scales(stream.structure, weighting)
    scales = np.ones(len(protein)) if scales is None else scales
    assert_modes(found.vectors, found.amplitudes_A, frames, scales)
    np.testing.assert_allclose(found.mean, frames.mean(axis=0), rtol=1e-12)
    b_factors = 8 * np.pi**2 / 3 * np.sum(np.var(frames, axis=0), axis=1)
    np.testing.assert_allclose(found.b_factors_A2, b_factors, rtol=1e-9)
    # Uncorrelated, with the amplitudes as deviations; orthogonal with the weights.
    covariance = np.cov(coefficients.T, bias=True)
    np.testing.assert_allclose(
        covariance, np.diag(found.amplitudes_A**2), atol=1e-9 * covariance.max()
    )
    rows = (found.vectors * scales[:, None]).reshape(8, -1)
    products = rows @ rows.T
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-9 * products.max())


def whole(stream: CrystalStream) -> np.ndarray:
    """All its frames."""
    n_atoms = len(stream.structure)
    rounds = stream.rounds(lambda frames: frames.reshape(len(frames), -1), 3 * n_atoms)
    return np.concatenate(list(rounds)).reshape(-1, n_atoms, 3)


def test_all_weighted_modes_are_all_the_motion(written, protein):
    """Σ σ_i² is the mean square displacement per atom, although the fields are not orthogonal."""
    with crystal_stream(written(moved(protein, FEW)), Ranks()) as stream:
        frames = whole(stream)
        found = essential_dynamics(stream, FEW - 1, "mass", Ranks())
    total = np.sum(np.var(frames, axis=0)) / len(protein)
    assert np.sum(found.amplitudes_A**2) == pytest.approx(total, rel=1e-9)


def test_frames_that_are_chosen(small_rounds, written, protein):
    """--first, --last, --stride of each of two trajectories, in their order."""
    one, other = moved(protein, 20), moved(protein, 9, seed=2)
    with crystal_stream(written(one, other, first=3, last=14, stride=4), Ranks()) as stream:
        chosen = whole(stream)
    with crystal_stream(written(np.concatenate([one[2:14:4], other[2:9:4]])), Ranks()) as stream:
        np.testing.assert_allclose(chosen, whole(stream), atol=1e-9)
        assert stream.runs == (5,)
    assert chosen.shape == (5, 50, 3)


@pytest.mark.parametrize("ending", ["xtc", "trr", "dcd", "nc", "pdb", "h5"])
def test_parts_of_a_file_are_the_file(written, protein, ending):
    """Any frames in any portions, in every format: as all at once."""
    files = written(moved(protein, 12), ending=ending)
    every = read_trajectory(files.trajectory, files.topology)
    with TrajectoryReader([files.trajectory], files.topology) as reader:
        assert reader.counts() == [12]
        for numbers in ([0], [7, 8, 9], [0, 3, 6, 9], [10, 11], [2, 3, 8]):
            positions, boxes = reader.frames(FrameRange(0, np.array(numbers)))
            np.testing.assert_array_equal(positions, every.frames[numbers])
            np.testing.assert_array_equal(boxes, every.boxes[numbers])


def test_superposed_on_their_mean(small_rounds, written, protein):
    """Each pass on the last one's mean, until it stays; the oracle repeats it a hundred times."""
    frames = moved(protein, 30)
    on = backbone(protein)
    with crystal_stream(written(frames), Ranks()) as stream:
        before = whole(stream)
        told = stream.settle()
        after = whole(stream)
    mean = before[:, on].mean(axis=0)
    crystal = protein.positions[on].round(3)
    for _ in range(100):
        mean = superpose(before, mean, on)[:, on].mean(axis=0)
        mean = superpose(mean[None], crystal, np.arange(len(on)))[0]
    np.testing.assert_allclose(after, superpose(before, mean, on), atol=1e-3)
    assert "passes" in told and "not settled" not in told

    def spread(positions: np.ndarray) -> float:
        return float(np.sum(np.var(positions[:, on], axis=0)))

    assert spread(after) <= spread(before)


@pytest.mark.parametrize("ending", ["xtc", "dcd", "h5"])
def test_a_frame_that_cannot_be_read(small_rounds, written, protein, ending):
    """File and frame are named, whichever chunk it is in."""
    files = written(moved(protein, 30), ending=ending)
    content = bytearray(files.trajectory.read_bytes())
    if ending == "xtc":  # how its 21st frame is packed: after 84 bytes of it
        starts = [i for i in range(len(content)) if content[i : i + 4] == b"\0\0\x07\xcb"]
        content[starts[20] + 84 : starts[20] + 88] = b"\0\0\xff\xff"
    elif ending == "h5":  # the deflated chunk of its frames 21 to 25
        with h5py.File(files.trajectory) as file:
            chunk = file["coordinates"].id.get_chunk_info_by_coord((20, 0, 0))
        content[chunk.byte_offset + 50 : chunk.byte_offset + 90] = bytes(40)
    else:
        record = (len(content) - 276) // 30
        at = 276 + 20 * record + record // 2
        content[at : at + 4] = np.float32(np.nan).tobytes()
    files.trajectory.write_bytes(content)
    with (
        pytest.raises(InputError, match=r"frame 2[12]\b") as told,
        crystal_stream(files, Ranks()) as stream,
    ):
        whole(stream)
    assert "md0." in str(told.value) and "\n" not in str(told.value)


CRASHING = """
import os, signal
from hpc_diffuser.io.trajectories import native
def frames(*words):
    if 20 in words[-1]:
        os.kill(os.getpid(), signal.SIGSEGV)
    return native.frames(*words)
"""


@pytest.mark.parametrize("ending", ["xtc", "h5"])
def test_a_reader_that_crashes_in_a_chunk(small_rounds, written, protein, monkeypatch, ending):
    """The frame that kills it is named; and other frames are read all the same, by another one."""
    files = written(moved(protein, 30), ending=ending)
    folder = files.trajectory.parent
    (folder / "crashing.py").write_text(CRASHING)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(folder))
    crashing = importlib.import_module("crashing")
    monkeypatch.setattr(reading, "native", SimpleNamespace(**vars(native) | vars(crashing)))
    with (
        pytest.raises(InputError, match=rf"frame 21 of .*md0\.{ending} .*crash") as told,
        crystal_stream(files, Ranks()) as stream,
    ):
        whole(stream)
    assert "\n" not in str(told.value)
    with TrajectoryReader([files.trajectory], files.topology) as reader:
        with pytest.raises(InputError, match="frame 21"):
            reader.frames(FrameRange(0, np.arange(19, 22)))
        assert reader.frames(FrameRange(0, np.arange(21, 24)))[0].shape == (3, 50, 3)
    del sys.modules["crashing"]


def test_a_trajectory_that_grows(written, protein):
    """Refused at the end of the pass in which it grew: what was read is no file's content."""
    files = written(moved(protein, 30), ending="xtc")
    content = files.trajectory.read_bytes()
    with crystal_stream(files, Ranks()) as stream:
        rounds = stream.rounds(lambda frames: frames[:, 0], 3)
        next(rounds)
        files.trajectory.write_bytes(content + content)
        with pytest.raises(InputError, match=r"md0\.xtc: changed while it was read, from \d+ to"):
            list(rounds)


def test_frames_of_other_atoms(written, protein):
    """The first frame that differs is named."""
    files = written(moved(protein, 4))
    few = mdtraj.load_topology(str(files.topology)).subset(range(40))
    other = files.trajectory.with_name("few.trr")
    mdtraj.Trajectory(moved(protein, 1)[:, :40] / 10, few).save(str(other))
    files.trajectory.write_bytes(files.trajectory.read_bytes() + other.read_bytes())
    with (
        pytest.raises(InputError, match="frame 5 has 40 atoms, the topology has 50"),
        crystal_stream(files, Ranks()),
    ):
        pass


@pytest.mark.parametrize(
    ("n_frames", "options", "message"),
    [
        (1, {}, "one frame has no motion"),
        (30, {"first": 30}, "one frame has no motion"),
        (30, {"stride": 40}, "one frame has no motion"),
        (5, {}, "5 frames of 50 atoms have at most 4 modes"),
        (30, {"last": 4}, "4 frames of 50 atoms have at most 3 modes"),
        (30, {"first": 31}, r"--first 31: .*md0\.trr has 30 frames"),
        (30, {"first": 9, "last": 8}, "--last 8 comes before --first 9"),
    ],
)
def test_too_few_frames(written, protein, n_frames, options, message):
    """How many there can be is said."""
    files = written(moved(protein, n_frames), **options)
    with pytest.raises(InputError, match=message):
        modes_on_ranks(files, 6, Analysis(), Ranks(), lambda line: None)


ALIKE = """
import os, sys
from hpc_diffuser.io.trajectories import stream
stream.CHUNKS, stream._ROUND_BYTES = 8, 8 * 8 * 24 * 50
from hpc_diffuser.commands.main import run_program
run_program(sys.argv[1:] if len(sys.argv) > 1 else os.environ["WORDS"].split())
"""


def test_same_bits_on_1_2_and_3_ranks(written, protein, tmp_path, monkeypatch):
    """Of a covariance that ranks share."""
    files = written(moved(protein, 180), moved(protein, 7, seed=5))
    found = []
    for n_ranks in (1, 2, 3):
        paths = " ".join(map(str, files.trajectories))
        words = f"modes --trajectory {paths} --topology {files.topology}"
        words += f" --reference {files.reference} --superpose mean -o m{n_ranks}.h5"
        monkeypatch.setenv("WORDS", words)
        result = launch(n_ranks, folder=tmp_path, code=ALIKE, warm=True)
        assert result.returncode == 0, result.stderr
        names = ["vectors", "amplitudes", "mean_positions", "b_factors_A2", "convergence/rmsip"]
        found.append(hdf5_arrays(tmp_path / f"m{n_ranks}.h5", names))
    assert len(found[0]) == 5
    for name, first in found[0].items():
        assert all(each[name].tobytes() == first.tobytes() for each in found), name


def test_lysozyme_equals_a_decomposition_of_its_own(data):
    """The real trajectory, superposed and decomposed by numpy alone: to 1e-6."""
    lysozyme = data / "lysozyme"
    files = TrajectoryFiles(
        lysozyme / "trajectory.xtc", lysozyme / "topology.pdb", lysozyme / "6o2h.pdb"
    )
    with crystal_stream(files, Ranks()) as stream:
        frames = whole(stream)
        found = essential_dynamics(stream, 20, "none", Ranks())
    assert frames.shape == (101, 1001, 3)
    assert_modes(found.vectors, found.amplitudes_A, frames, np.ones(1001))
    loaded = mdtraj.load(str(files.trajectory), top=str(files.topology))
    heavy = loaded.topology.select("element != H")
    raw = 10 * loaded.xyz[:, heavy].astype(float)
    carbons = [
        i for i, at in enumerate(heavy) if loaded.topology.atom(at).name in ("N", "CA", "C", "O")
    ]
    # Distances within a frame are of no superposition.
    for frame in (0, 50, 100):
        gaps = (np.linalg.norm(np.diff(x[frame][carbons], axis=0), axis=1) for x in (raw, frames))
        np.testing.assert_allclose(*gaps, atol=1e-9)


@pytest.mark.parametrize("dies_in", range(5))
def test_killed_in_any_chunk(written, protein, tmp_path, monkeypatch, dies_in):
    """Nothing is half-written: the folder is as before, the same command then does it all."""
    files = written(moved(protein, 20))
    words = f"modes --trajectory {files.trajectory} --topology {files.topology}"
    monkeypatch.setenv("WORDS", f"{words} --reference {files.reference} -o m.h5")
    killed = f"""
import os, signal
from hpc_diffuser.io.trajectories.files import TrajectoryReader
frames, calls = TrajectoryReader.frames, []
def fatal(self, some):
    calls.append(some)
    if len(calls) > 3 * {dies_in} + 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return frames(self, some)
TrajectoryReader.frames = fatal
"""
    before = sorted(os.listdir(tmp_path))
    result = launch(1, folder=tmp_path, code=killed + ALIKE, warm=True)
    assert result.returncode == -9
    assert sorted(os.listdir(tmp_path)) == before
