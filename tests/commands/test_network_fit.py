"""From a crystal structure alone to an answer: network modes, a map of them, a fit."""

import json
from dataclasses import replace

import numpy as np

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.io.modes_file import read_modes
from hpc_diffuser.io.structures.files import write_pdb

CRYSTAL = ((29.0, 28.0, 31.0, 87.0, 104.0, 97.0), "P 1")
SIMULATED = """\
[structure]
modes = "network.h5"
[grid]
oversampling = [3, 3, 3]
d_min_A = 4.0
[parameters]
mode_amplitude_A = [[0.4, 0.4], [0.2, 0.2]]
translation_sigma_A = 0.3
"""
FITTED = """\
[structure]
modes = "network.h5"
[target]
file = "target.h5"
[parameters]
mode_amplitude_A = [[0.0, 0.8], [0.2, 0.2]]
translation_sigma_A = 0.3
[model]
samples = 32
final_samples = 128
[search]
restarts = 1
evaluations = 14
"""


def test_a_weight_of_the_network_by_default_is_found_again(call, tmp_path):
    """`modes --reference` with the crystal's neighbours, clamped; the weight to 0.04 Å."""
    protein = build_protein()
    b_factors = 10 + 5 * np.sin(np.arange(len(protein)) / 20)
    write_pdb(tmp_path / "crystal.pdb", replace(protein, b_factors_A2=b_factors), CRYSTAL)
    (tmp_path / "simulated.toml").write_text(SIMULATED)
    (tmp_path / "fitted.toml").write_text(FITTED)
    for words in (
        "modes --reference crystal.pdb --n-modes 2 -o network.h5",
        "simulate simulated.toml --noise 0.1 -o map.nxs",
        "target map.nxs --d-max 10 --d-min 4 --shells 5 -o target.h5",
        "fit fitted.toml",
    ):
        done = call(*words.split())
        assert done.returncode == 0, done.stderr
    assert "with neighbours that stand still" in call("info", "network.h5").stdout
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    amplitudes = read_modes(tmp_path / "network.h5").amplitudes_A
    np.testing.assert_array_equal(summary["source_mode_amplitude_A"], amplitudes)
    assert summary["cc_work"] > 0.95 and summary["cc_free"] > 0.95
    np.testing.assert_allclose(summary["answer"]["mode_amplitude_A"], (0.4, 0.2), atol=0.04)
