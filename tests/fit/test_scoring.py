"""A score that cannot be a number is an error that names the shell, on every rank."""

from dataclasses import replace

import numpy as np
import pytest

from hpc_diffuser.fit.scoring import require_variation, score_at_voxels
from hpc_diffuser.io.maps.native import write_target
from hpc_diffuser.maps.target import Target
from hpc_diffuser.system.errors import DiffuserError, InputError


@pytest.fixture
def varied(target: Target) -> np.ndarray:
    """A made-up calculated map, no relation of the target."""
    return np.random.default_rng(0).uniform(1, 2, len(target.indices))


def limits(target: Target, shell: int) -> str:
    """How a message names a shell."""
    d_max, d_min = 1 / target.shell_edges[shell : shell + 2]
    return rf"shell {shell + 1} \({d_max:.2f}-{d_min:.2f} Å\)"


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("score", ["shell-mean", "pooled"])
def test_one_voxel_that_is_not_a_number(target, varied, wrong, score):
    """Of a calculated map: the shell that it lies in is told."""
    varied[np.flatnonzero(target.shells() == 1)[3]] = wrong
    with pytest.raises(DiffuserError, match=f"calculated .* not a finite.*{limits(target, 1)}"):
        score_at_voxels(target, varied, score, "none")


def test_a_map_that_does_not_vary_in_one_shell(target, varied):
    """Its CC there is 0/0; pooled over the shells, it is one of the rest."""
    varied[target.shells() == 2] = 1.5
    with pytest.raises(InputError, match=f"the same at all working .*{limits(target, 2)}"):
        score_at_voxels(target, varied, "shell-mean", "none")
    assert np.isfinite(score_at_voxels(target, varied, "pooled", "none").cc_work)


def test_what_does_not_move_has_no_score(target):
    """Nothing calculated anywhere is a model, too: CC is undefined, which is no error."""
    nothing = np.zeros(len(target.indices))
    assert np.isnan(score_at_voxels(target, nothing, "shell-mean", "none").cc_work)


def test_a_target_that_does_not_vary_in_one_shell(target, project, call):
    """No map correlates with it there: refused before the fit begins, with file and shell."""
    intensity = np.where(target.shells() == 0, np.float32(7), target.intensity)
    flat = replace(target, intensity=intensity)
    with pytest.raises(InputError, match=limits(target, 0)):
        require_variation(flat, "shell-mean", "target.h5")
    require_variation(flat, "pooled", "target.h5")
    require_variation(target, "shell-mean", "target.h5")
    write_target(project / "target.h5", flat, {"command": "test"})
    result = call("fit", "fit.toml", folder=project)
    assert result.returncode == 65
    assert "target.h5: shell 1 (6.00-" in result.stderr and "of one intensity" in result.stderr
