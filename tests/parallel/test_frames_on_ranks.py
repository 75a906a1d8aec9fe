"""Weights of frames have the same bits on any number of ranks, and after interruptions."""

from pathlib import Path

import pytest
from frames_loop import CONFIG, write_frames_loop
from launching import finished, launch, outcome

STOPPING = """
import signal
from hpc_diffuser.fit import refinement
from hpc_diffuser.fit.priors import weight
count = []
def stopping(write):
    def stop(path, kept):
        write(path, kept); count.append(1)
        if len(count) == 3: signal.raise_signal(signal.SIGUSR1)
    return stop
refinement.write_checkpoint = stopping(refinement.write_checkpoint)
weight.write_prior_path = stopping(weight.write_prior_path)
from hpc_diffuser.commands.main import main; main(["fit", "c.toml"])
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """An ensemble and a target."""
    return write_frames_loop(tmp_path_factory.mktemp("inputs"))


def fit_in(inputs: Path, name: str, theta: str, groups: int) -> Path:
    folder = inputs / name
    folder.mkdir()
    for file in ("frames.pdb", "target.h5"):
        (folder / file).symlink_to(inputs / file)
    text = CONFIG.replace("weights = 1e-4", f"weights = {theta}")
    text = text.replace("restarts = 3", "restarts = 2")
    (folder / "c.toml").write_text(f"{text}[run]\ngroups = {groups}\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "groups"), [(2, 1), (4, 1), (3, 1), (3, 0)])
def test_same_bits_on_any_number_of_ranks(inputs, ranks, groups):
    """Two or four share the frames, and hand their slopes to those that hold the map."""
    alone, many = (fit_in(inputs, f"{ranks}-{groups}-{n}", "1e-3", groups) for n in (1, ranks))
    *expected, _ = finished(alone, 1, warm=True)
    *found, used = finished(many, ranks, warm=True)
    assert used == ranks
    assert found == expected


@pytest.mark.slow
def test_interrupted_on_other_ranks(inputs):
    """On the path of θ and in the restarts, on 1 to 4 ranks in turn: the same bits in the end."""
    alone, folder = (fit_in(inputs, name, '"auto"', 1) for name in ("whole", "interrupted"))
    *expected, _ = finished(alone, 3, warm=True)
    for attempt in range(40):
        result = launch(1 + attempt % 4, folder=folder, code=STOPPING, warm=True)
        if result.returncode == 0:
            break
        assert result.returncode == 75, result.stderr
    assert attempt > 4
    assert list(outcome(folder)[:3]) == expected
    paths = [(f / "run" / "prior_path.json").read_bytes() for f in (alone, folder)]
    assert paths[0] == paths[1]
