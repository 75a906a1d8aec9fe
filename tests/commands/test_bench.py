"""`bench` as a user runs it, and the reference algorithm that it measures."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpc_diffuser.commands import benchmark, reference_algorithm
from hpc_diffuser.commands.benchmark import Case
from hpc_diffuser.commands.reference_algorithm import reference_sample, splat
from hpc_diffuser.fit.config import load_config

SMALLER_CUBE = 41


def test_splat_keeps_weight_and_centre():
    """Trilinear sharing keeps Σw and Σwx: both are linear in the position."""
    points = np.array([[3.25, 4.5, 5.75], [2.0, 6.9, 1.1]])
    weights = np.array([6.0, 8.0])
    density = splat(points, weights, 10)
    assert density.sum() == np.float32(14.0)
    centre = np.array([np.tensordot(density, np.arange(10), (axis, 0)).sum() for axis in range(3)])
    np.testing.assert_allclose(centre, weights @ points, rtol=1e-6)


def test_reference_sample_of_one_atom(monkeypatch):
    """At the origin of reciprocal space F is the atom's charge less the masked solvent's."""
    cube = (SMALLER_CUBE,) * 3
    monkeypatch.setattr(reference_algorithm, "CUBE", SMALLER_CUBE)
    moments = [np.zeros(cube, np.complex64), np.zeros(cube, np.float32)]
    reference_sample(np.zeros((1, 3)), np.array([6.0]), 0.8, moments)
    transform, squared = moments
    np.testing.assert_allclose(squared, np.abs(transform) ** 2, rtol=1e-4, atol=1e-3)
    # Friedel: F(-h) is the conjugate of F(h), as the density is real.
    np.testing.assert_allclose(transform[1, 2, 3], transform[-1, -2, -3].conj(), rtol=1e-3)


def test_case_with_correlated_modes(inputs):
    """The middle of the ranges, correlations too."""
    config = load_config(inputs / "fit.toml")
    config = replace(
        config,
        structure=replace(config.structure, correlated_modes=2),
        parameters=replace(config.parameters, mode_correlation=(0.2, 0.6)),
    )
    assert Case(config).parameters.mode_correlation == pytest.approx((0.4,))


def check_measured(result: subprocess.CompletedProcess, project: Path) -> None:
    """A table, the JSON that other programs read, and an error that falls with the samples."""
    assert result.returncode == 0, result.stderr
    measured = json.loads((project / "bench.json").read_text())
    for key in (
        "core_seconds_per_evaluation",
        "reference_core_seconds_per_evaluation",
        "error",
        "reference_error",
        "ratio_at_equal_accuracy",
        "peak_memory_MB_per_rank",
    ):
        assert key in measured and key in result.stdout
    assert measured["core_seconds_per_evaluation"] > 0
    errors = measured["error_by_samples"]
    assert errors["512"] < errors["16"]
    assert errors["512"] < measured["error_by_samples_plain_random"]["512"]
    assert measured["seconds_to_first_evaluation_by_ranks"]["1"] > 0
    atoms = [int(n) for n in measured["seconds_per_sample_by_atoms"]]
    assert atoms == [measured["atoms"] * n for n in (1, 2, 4, 8)]
    assert (project / "errors.png").read_bytes()[:4] == b"\x89PNG"


BENCH = ("bench", "fit.toml", "--json", "bench.json", "--png", "errors.png")


def test_bench_measures_a_config(call, project, monkeypatch):
    """Everything once, on one rank, and the algorithm that it replaces on a smaller cube."""
    monkeypatch.setattr(benchmark, "_REPEATS", 1)
    monkeypatch.setattr(benchmark, "_SCALING_REPEATS", 1)
    monkeypatch.setattr(benchmark.os, "sched_getaffinity", lambda pid: {0})
    for module in (benchmark, reference_algorithm):
        monkeypatch.setattr(module, "CUBE", SMALLER_CUBE)
    check_measured(call(*BENCH, folder=project), project)


@pytest.mark.slow
def test_bench_as_users_run_it(cli, project):
    """The same in full: several times, on several ranks and threads."""
    check_measured(cli(*BENCH, folder=project), project)
