"""Several models beside each other, as text."""

from collections.abc import Sequence

import numpy as np

from hpc_diffuser.commands.pages.report import score_rule, warnings_text
from hpc_diffuser.fit.cautions import percent
from hpc_diffuser.fit.cc_text import cc_column
from hpc_diffuser.fit.comparison_table import ModelComparison, ModelRow, ModelShellRow, Shuffled
from hpc_diffuser.fit.config_values import terms_of
from hpc_diffuser.fit.summary import Ceiling, Values
from hpc_diffuser.motion.registry import PARAMETERS, Parameter

_MOST_SHOWN = 12  # weights of modes in a line of the table


def comparison_text(comparison: ModelComparison) -> str:
    """Warnings; the models side by side: scores and answers, the controls, CC by shell."""
    rows, score = comparison.models, comparison.score
    width = max(len("Model"), *(len(row.name) for row in rows))
    scores = _score_table(rows, width) + _ceiling_line(comparison.ceiling, width)
    if score:
        scores += f"\nCC_work, CC_free: {score_rule(score.rule, score.weights)}"
    warnings = [f"{row.name}: {text}" for row in rows for text in row.warnings]
    parts = [warnings_text(warnings), scores, _basis_table(rows, width)]
    parts += [_shuffled_table(rows, width), _b_factor_table(rows, width)]
    names = [row.name for row in rows]
    parts += [_shell_table(names, comparison.shells, free) for free in (False, True)]
    return "\n\n".join(part for part in parts if part)


def _score_table(rows: Sequence[ModelRow], width: int) -> str:
    lines = [f"{'Model':{width}}  refined  CC_work  CC_free   the answer of the fit"]
    lines += [
        f"{row.name:{width}}{len(row.refined):9d}{cc_column(row.cc_work)}{cc_column(row.cc_free)}"
        f"   {_values(row.answer)}"
        for row in rows
    ]
    return "\n".join(lines)


def _ceiling_line(ceiling: Ceiling | None, width: int) -> str:
    if ceiling is None:
        return ""
    cc_half = cc_column(ceiling.cc_half).strip()
    space = " " * 9
    cc_star = cc_column(ceiling.cc_star)
    return f"\n{'CC*':{width}}{space}{cc_star}{space}   of the data; CC½ is {cc_half}"


def _values(answer: Values) -> str:
    """`modes 0.30 0.21 Å, translation 0.41 Å`, in the order of the config's keys."""
    there = [row for row in PARAMETERS if np.size(answer.get(row.name, ()))]
    return ", ".join(_value(row, answer[row.name]) for row in there)


def _value(row: Parameter, value: float | list[float]) -> str:
    values = value if isinstance(value, list) else [value]
    numbers = " ".join(f"{v:.3g}" if abs(v) >= 1 else f"{v:.3f}" for v in values[:_MOST_SHOWN])
    more = " ..." if len(values) > _MOST_SHOWN else ""
    unit = row.quantity.unit
    return f"{row.label} {numbers}{more}{'' if unit in ('', '°') else ' '}{unit}"


def _basis_table(rows: Sequence[ModelRow], width: int) -> str:
    """Of models that were fitted with the modes of several files; empty without one."""
    several = dict.fromkeys(frozenset(terms_of(row.name)) for row in rows if row.basis)
    if not several:
        return ""
    lines = [
        "The modes of other bases, refitted: what any basis would gain",
        f"{'Model':{width}}   modes  CC_work  CC_free   of",
    ]
    for terms in several:
        for row in rows:
            if {*terms_of(row.name)} in (terms, terms - {"int"}):
                n_modes = np.size(row.answer.get("mode_amplitude_A", ()))
                lines.append(
                    f"{row.name:{width}}{n_modes:8d}{cc_column(row.cc_work)}{cc_column(row.cc_free)}"
                    f"   {_modes_of(row)}"
                )
    return "\n".join(lines)


def _modes_of(row: ModelRow) -> str:
    """`network.h5, on the structure of restrained.h5`."""
    on = f", on the structure of {row.positions_file}" if row.positions_file else ""
    return f"{row.modes_file or 'no modes'}{on}"


def _shuffled_table(rows: Sequence[ModelRow], width: int) -> str:
    """Of the models with modes; empty without one."""
    with_modes = [
        row
        for row in rows
        if "int" in terms_of(row.name) and np.size(row.answer.get("mode_amplitude_A", ()))
    ]
    if not with_modes:
        return ""
    lines = [
        "The same weights given to the same modes in other orders. They span the same motions:",
        "what another basis would gain, only its modes refitted tell ([models] bases)",
        f"{'Model':{width}}   orders  CC_work      sd  largest  CC_free      sd  largest",
    ]
    lines += [f"{row.name:{width}}{_shuffled(row.shuffled_modes)}" for row in with_modes]
    return "\n".join(lines)


def _shuffled(found: Shuffled | None) -> str:
    if found is None:
        return "     none: these weights have one order only"
    columns = "".join(
        f"{cc_column(of_one.mean)}{cc_column(of_one.standard_deviation)[1:]}"
        f"{cc_column(of_one.largest)}"
        for of_one in (found.cc_work, found.cc_free)
    )
    return f"{found.orders:9d}{columns}"


def _b_factor_table(rows: Sequence[ModelRow], width: int) -> str:
    """Empty without a crystal structure."""
    found = [(row.name, row.b_factors) for row in rows if row.b_factors]
    if not found:
        return ""
    lines = [
        f"B-factors beside the crystal's, {found[0][1].atoms} atoms",
        f"{'Model':{width}}         CC  mean ratio  move more",
    ]
    lines += [
        f"{name:{width}}  {cc_column(b.cc)}{b.mean_ratio:12.2f}{percent(b.moves_more):>9s} %"
        for name, b in found
    ]
    return "\n".join(lines)


def _shell_table(names: list[str], shells: Sequence[ModelShellRow], free: bool) -> str:
    """All models' CC by shell, in the working set with the limits of the data, or the free one."""
    widths = {name: max(9, len(name) + 2) for name in names}
    ceiling = not free and any(shell.cc_half is not None for shell in shells)
    heading = "Shell d (Å)      voxels: free" if free else "Shell d (Å)      voxels: work    free"
    lines = [heading + ("      CC½      CC*" if ceiling else "")]
    lines[0] += "".join(f"{name:>{widths[name]}}" for name in names)
    for shell in shells:
        d_max = "∞" if shell.d_max is None else f"{shell.d_max:.2f}"
        counts = (shell.voxels_free,) if free else (shell.voxels_work, shell.voxels_free)
        limits = cc_column(shell.cc_half) + cc_column(shell.cc_star) if ceiling else ""
        found = shell.cc_free if free else shell.cc
        values = "".join(f"{cc_column(found[name]):>{widths[name]}}" for name in names)
        voxels = "".join(f"{count:8d}" for count in counts)
        lines.append(f"{d_max:>6} - {shell.d_min:<8.2f}    {voxels}{limits}{values}")
    return "\n".join([f"CC_{'free' if free else 'work'} by shell", *lines])
