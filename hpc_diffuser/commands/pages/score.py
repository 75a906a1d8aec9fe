"""The scores of anybody's map as a page."""

from hpc_diffuser.commands.pages.report import (
    ceiling_lines,
    likelihood_lines,
    score_rule,
    shell_table,
)
from hpc_diffuser.fit.cc_text import cc_column
from hpc_diffuser.fit.config import TargetConfig
from hpc_diffuser.fit.map_score import MapScore


def score_text(found: MapScore) -> str:
    """The scores as tables."""
    cc = "none" if found.cc_mates is None else f"{found.cc_mates:.4f}"
    head = [
        *found.said,
        f"voxels       {found.voxels - found.missing} of the target's {found.voxels}"
        + (f"; {found.missing} are not in the map" if found.missing else ""),
        f"Laue mates   averaged, {found.mates_per_voxel:.2f} to a voxel; their CC is {cc}",
    ]
    scores = [
        "Scores                   CC_work  CC_free",
        f"  the map               {cc_column(found.cc_work)}{cc_column(found.cc_free)}"
        f"   ({score_rule(TargetConfig(score=found.score).cc_rule, found.weights)})",
        *ceiling_lines(found.ceiling),
        *likelihood_lines(found.likelihood),
    ]
    return "\n\n".join(["\n".join(head), "\n".join(scores), shell_table(found.shells)])
