"""Table 1's facts of the data: what options of a target, kept as texts, say."""

import pytest

from hpc_diffuser.report.facts import cut_facts
from hpc_diffuser.report.section import Rounded

MASKED, ALONE = (f"halos {what} (reciprocal-lattice units)" for what in ("masked to", "alone, to"))


@pytest.mark.parametrize(
    ("radius", "only", "fact"),
    [
        ("0.1", "False", (MASKED, Rounded(0.1, 3))),
        ("0.1", None, (MASKED, Rounded(0.1, 3))),  # of an older target
        ("0.3", "True", (ALONE, Rounded(0.3, 3))),
        ("0.0", "False", (MASKED, "not masked")),
        ("(0.4, 0.4, 0.5)", "False", (MASKED, "0.400, 0.400, 0.500")),
    ],
)
def test_which_voxels_a_target_has(radius, only, fact):
    told = {"target halo_radius": radius, "target halos_only": only, "target free_fraction": "0.1"}
    found = [(row.quantity, row.value) for row in cut_facts(told)]
    assert found == [fact, ("part of the Brillouin zones in the free set", Rounded(0.1, 2))]
