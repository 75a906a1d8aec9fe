"""The same bits on any number of ranks."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from launching import finished, histories, launch, outcome, run_directory, write_inputs

from hpc_diffuser.io.maps.native import read_map, read_target, write_target


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A folder with modes and a target, for the runs of this file."""
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def alone(inputs) -> tuple:
    """The outcome on one rank, without any launcher."""
    return finished(run_directory(inputs, "alone"), 1, warm=True)


@pytest.mark.parametrize(
    ("ranks", "groups"),
    [
        (8, 1),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(2, 2), (3, 0), (3, 1), (5, 2)]),
    ],
)
def test_same_bits_on_any_number_of_ranks(inputs, alone, ranks, groups):
    """Histories, parameters and map do not know how many ranks and groups made them.

    Eight ranks on these few planes share the samples too, and so add moments across ranks.
    """
    folder = run_directory(inputs, f"ranks{ranks}groups{groups}", groups)
    *found, used = finished(folder, ranks, warm=True)
    assert used == ranks
    assert found == list(alone[:3])


@pytest.mark.slow
def test_same_bits_where_the_map_is_interpolated(inputs):
    """The same of the band-limited grid, whose planes and the target's have different owners."""
    found = [
        finished(run_directory(inputs, f"band{ranks}", 1, "band-limited"), ranks, warm=True)[:3]
        for ranks in (1, 3)
    ]
    assert found[1] == found[0]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["bayesian", "least-squares"])
def test_same_bits_of_a_likelihood(inputs, by):
    """The same of χ², whose sums are added over planes too, with their CC beside them.

    By least squares with its slopes, and a prior whose weight is found on all ranks together.
    """
    found = []
    for ranks in (1, 3):
        folder = run_directory(inputs, f"{by}{ranks}", 1)
        target = read_target(folder / "target.h5")
        (folder / "target.h5").unlink()
        write_target(folder / "target.h5", replace(target, errors=1 + target.intensity / 9), {})
        likely = '[target]\nscore = "likelihood"\nbackground_knots = 4'
        config = (folder / "c.toml").read_text().replace("[target]", likely)
        path = folder / "run" / "prior_path.json"
        if by == "least-squares":
            config = config.replace("[search]", f'[search]\nmethod = "{by}"')
            config += '[prior]\namplitudes = "auto"\n'
        (folder / "c.toml").write_text(config)
        *outcome, _ = finished(folder, ranks, warm=True)
        outcome.append(path.read_bytes() if path.exists() else by)
        found.append((outcome, [h.cc_work.tobytes() for h in histories(folder).values()]))
    assert found[1] == found[0]


def test_same_bits_on_two_threads(inputs, alone):
    """Threads share out the planes of a rank, and change nothing either."""
    folder = run_directory(inputs, "threads")
    code = (
        "import os; os.environ['NUMBA_NUM_THREADS'] = '2'\n"
        "from hpc_diffuser.commands.main import main; main(['fit', 'c.toml'])"
    )
    result = launch(1, folder=folder, code=code)
    assert result.returncode == 0, result.stderr
    assert outcome(folder)[:3] == alone[:3]


def _stopping_after(evaluations: int) -> str:
    """A fit that sends itself a signal to stop, after so many evaluations."""
    return (
        "import signal\n"
        "from hpc_diffuser.fit import refinement\n"
        "write, count = refinement.write_checkpoint, []\n"
        "def stop(path, history):\n"
        "    write(path, history); count.append(1)\n"
        f"    if len(count) == {evaluations}: signal.raise_signal(signal.SIGUSR1)\n"
        "refinement.write_checkpoint = stop\n"
        "from hpc_diffuser.commands.main import main; main(['fit', 'c.toml'])"
    )


@pytest.mark.parametrize(
    "evaluations", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))]
)
def test_resumed_on_other_ranks(inputs, alone, evaluations):
    """Cut short again and again, on 1, 2 and 3 ranks in turn: the same bits in the end.

    The fit is stopped by a signal that it sends to itself after so many evaluations.
    """
    folder, code = run_directory(inputs, f"resumed{evaluations}"), _stopping_after(evaluations)
    codes = []
    for attempt in range(20):
        result = launch(1 + attempt % 3, folder=folder, code=code, warm=True)
        codes.append(result.returncode)
        if result.returncode == 0:
            break
        assert result.returncode == 75, result.stderr
        assert "run again to resume" in result.stderr
    assert codes[-1] == 0 and len(codes) > 2
    assert outcome(folder)[:3] == alone[:3]


@pytest.mark.slow
def test_least_squares_resumed_on_other_ranks(inputs):
    """The same of a search whose restarts linearise, go through stages and end of themselves."""
    method = "samples = 6\n", "samples = 4\n", "evaluations = 5", "evaluations = 12"
    folders = [run_directory(inputs, name, 1) for name in ("steps", "interrupted steps")]
    for folder in folders:
        text = (folder / "c.toml").read_text().replace(*method[:2]).replace(*method[2:])
        text = text.replace("[search]", '[search]\nmethod = "least-squares"')
        (folder / "c.toml").write_text(text.replace("restarts = 3", "restarts = 2"))
    alone = finished(folders[0], 3, warm=True)
    for attempt in range(30):
        result = launch(1 + attempt % 3, folder=folders[1], code=_stopping_after(5), warm=True)
        if result.returncode == 0:
            break
        assert result.returncode == 75, result.stderr
    assert attempt > 1
    assert outcome(folders[1])[:3] == alone[:3]
    assert all(history.stage_starts for history in histories(folders[1]).values())


def test_errors_of_the_input_are_told_once(inputs):
    """A mistake that rank 0 finds is everyone's: one line, the contract's code."""
    folder = run_directory(inputs, "mistake")
    config = folder / "c.toml"
    config.write_text(config.read_text().replace("samples = 6", "sample = 6"))
    result = launch(3, "fit", "c.toml", folder=folder)
    assert result.returncode == 65
    lines = [line for line in result.stderr.splitlines() if "hpc-diffuser: error" in line]
    assert len(lines) == 1 and '"model.samples"' in lines[0]


EVERYTHING = """\
[structure]
modes = "modes.h5"
correlated_modes = 3
[crystal]
unit_cell = [30, 30, 31, 90, 90, 90]
space_group = "P 43 21 2"
[grid]
oversampling = [3, 3, 3]
d_min_A = 6.5
[parameters]
mode_amplitude_A = 0.2
mode_correlation = [[0.5, 0.5], [0.2, 0.2], [-0.3, -0.3]]
translation_sigma_A = [0.2, 0.3, 0.4]
libration_sigma_deg = 3
screw_correlation = 0.4
uncorrelated_sigma_A = 0.1
llm_sigma_A = 0.3
llm_gamma_A = 6
k_sol_eA3 = 0.334
b_sol_A2 = 30
halo_sigma_A = 0.2
halo_gamma_A = 30
[model]
samples = 8
"""


@pytest.mark.parametrize("several", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_every_term_on_ranks_equals_one(inputs, several):
    """All terms of the model at once, in a crystal with eight molecules a cell: the same map."""
    folder = run_directory(inputs, f"everything{several}")
    (folder / "s.toml").write_text(EVERYTHING)
    maps = []
    for ranks in (1, several):
        words = "simulate", "s.toml", "-o", f"{ranks}.nxs"
        result = launch(ranks, *words, folder=folder, warm=True)
        assert result.returncode == 0, result.stderr
        maps.append(read_map(folder / f"{ranks}.nxs").intensity.tobytes())
    assert maps[0] == maps[1]


OF_CRYSTAL = """\
crystal_llm_sigma_A = [[0.3, 0.3], [0.2, 0.2]]
crystal_llm_gamma_A = 6
k_sol_eA3 = 0.334
"""


@pytest.mark.slow
@pytest.mark.parametrize("several", [2, 5])
def test_a_liquid_crystal_on_ranks_equals_one(inputs, several):
    """Liquid-like motion of the whole crystal beside modes and libration: the same map."""
    folder = run_directory(inputs, f"crystal{several}")
    kept = re.sub(r"(translation|screw|llm|k_sol|halo)_.*\n", "", EVERYTHING)
    kept = kept.replace("d_min_A = 6.5", "d_min_A = 8.0")
    (folder / "s.toml").write_text(kept.replace("[model]", OF_CRYSTAL + "[model]"))
    maps = []
    for ranks in (1, several):
        words = "simulate", "s.toml", "-o", f"{ranks}.nxs"
        result = launch(ranks, *words, folder=folder, warm=True)
        assert result.returncode == 0, result.stderr
        maps.append(read_map(folder / f"{ranks}.nxs").intensity.tobytes())
    assert maps[0] == maps[1]


@pytest.mark.slow
def test_simulate_on_ranks_equals_one(inputs):
    """`simulate` writes the same map on 1 and 3 ranks."""
    folder = run_directory(inputs, "simulate")
    (folder / "s.toml").write_text(
        '[structure]\nmodes = "modes.h5"\n[grid]\noversampling = [2, 2, 2]\nd_min_A = 5.0\n'
        "[parameters]\nmode_amplitude_A = 0.2\ntranslation_sigma_A = 0.3\n[model]\nsamples = 5\n"
    )
    maps = []
    for ranks in (1, 3):
        words = "simulate", "s.toml", "-o", f"{ranks}.nxs"
        result = launch(ranks, *words, folder=folder, warm=True)
        assert result.returncode == 0, result.stderr
        maps.append(read_map(folder / f"{ranks}.nxs").intensity.tobytes())
    assert maps[0] == maps[1]
