"""Models of the halos beside each other: as text, and as a table for spreadsheets."""

import csv
from io import StringIO

import numpy as np

from hpc_diffuser.commands.pages.report import score_rule
from hpc_diffuser.fit.cc_text import cc_column
from hpc_diffuser.fit.halo_models import EMPIRICAL, RIGID, HaloComparison, HaloModel
from hpc_diffuser.motion.registry import PARAMETERS


def halos_text(found: HaloComparison) -> str:
    """Which model explains what: over the shells, and in each."""
    voxels, between = (sum(getattr(s, key) for s in found.shells) for key in ("voxels", "between"))
    radius = ", ".join(f"{r:.3g}" for r in np.atleast_1d(found.halo_radius))
    head = (
        f"{found.target}: {voxels} voxels, {100 * (1 - between / voxels):.0f} % of them within "
        f"{radius} of a Bragg peak"
    )
    rule = f"CC_work, CC_free: {score_rule(found.score, 'none')}"
    return "\n\n".join([head, f"{_score_table(found)}\n{rule}", _shell_table(found)])


def halos_csv(found: HaloComparison) -> bytes:
    """A row for each shell: every model's CC_work and CC_free, with the halos and without."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kinds = [(m, where, free) for m in found.models for where in _WHERE for free in _SETS]
    writer.writerow(
        ["d_max_A", "d_min_A", "voxels", "voxels_between_halos", "cc_star"]
        + [f"{m.name} {where} CC_{free}" for m, where, free in kinds]
    )
    for i, shell in enumerate(found.shells):
        own = [shell.d_max, shell.d_min, shell.voxels, shell.between, shell.cc_star]
        ccs = [getattr(getattr(m, where), f"shells_{free}")[i] for m, where, free in kinds]
        writer.writerow(["" if x is None else f"{x:.6g}" for x in [*own, *ccs]])
    return text.getvalue().encode()


_WHERE, _SETS = ("everywhere", "between"), ("work", "free")


def _score_table(found: HaloComparison) -> str:
    width = max(len("between halos"), *(len(m.name) for m in found.models))
    lines = [
        f"{'':{width}}   with the halos     between them",
        f"{'Model':{width}}  CC_work  CC_free  CC_work  CC_free   refined",
    ]
    for model in found.models:
        ccs = [cc for a in (model.everywhere, model.between) for cc in (a.cc_work, a.cc_free)]
        lines.append(
            f"{model.name:{width}}{''.join(cc_column(cc) for cc in ccs)}   {_refined(model)}"
        )
    return "\n".join(lines)


def _refined(model: HaloModel) -> str:
    """`translation 0.41 Å`, in the order of the config's keys."""
    told = [
        f"{row.label} {' '.join(f'{v:.3g}' for v in np.atleast_1d(model.refined[row.name]))}"
        f"{'' if row.quantity.unit in ('', '°') else ' '}{row.quantity.unit}"
        for row in PARAMETERS
        if row.name in model.refined
    ]
    what = f"{RIGID} times the target's mean zone to the power of halo alpha: "
    return (what if model.name == EMPIRICAL else "") + (", ".join(told) or "nothing: all held")


def _shell_table(found: HaloComparison) -> str:
    names = [m.name for m in found.models]
    widths = [max(9, len(name) + 2) for name in names]
    title = "".join(f"{name:>{w}}" for name, w in zip(names, widths, strict=True))
    lines = [
        "CC_work by shell, with the halos and then between them",
        f"Shell d (Å)      voxels between{title} |{title}",
    ]
    for i, shell in enumerate(found.shells):
        d_max = "∞" if shell.d_max is None else f"{shell.d_max:.2f}"
        sides = [
            "".join(
                f"{cc_column(getattr(m, where).shells_work[i]):>{w}}"
                for m, w in zip(found.models, widths, strict=True)
            )
            for where in _WHERE
        ]
        lines.append(
            f"{d_max:>6} - {shell.d_min:<6.2f}{shell.voxels:8d}{shell.between:8d}"
            f"{sides[0]} |{sides[1]}"
        )
    return "\n".join(lines)
