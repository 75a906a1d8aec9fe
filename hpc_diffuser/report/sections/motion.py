"""Section: what the motion consists of, by its kinds."""

from hpc_diffuser.fit.summary import MotionSizes
from hpc_diffuser.interface.run import Run
from hpc_diffuser.plots.motion import plot_shares
from hpc_diffuser.report.section import Column, Contents, Figure, Table

_TOGETHER = "translation and libration together"  # what a screw adds
_ROUNDING = 1e-6


def kinds_of_motion(run: Run) -> Contents | None:
    """Of a finished run: rms displacements, B-factors and shares."""
    outcome = run.summary.outcome if run.summary else None
    if outcome is None or not outcome.motion.rms_A > 0:
        return None
    shares = shares_of(outcome.motion)
    return Contents(
        words=(_words(outcome.motion, shares),),
        figures=(_figure(shares),) if len(shares) > 1 else (),
        tables=(_table(outcome.motion, shares),),
    )


def shares_of(motion: MotionSizes) -> dict[str, float]:
    """Parts of ⟨|u|²⟩ by each motion, which add up to 1 with what a screw adds."""
    total = motion.mean_b_A2
    shares = {name: size.mean_b_A2 / total for name, size in motion.kinds.items()}
    left = 1 - sum(shares.values())
    return shares | ({_TOGETHER: left} if abs(left) > _ROUNDING else {})


def _words(motion: MotionSizes, shares: dict[str, float]) -> str:
    parts = ", ".join(
        f"{name} {100 * share:.1f} %" for name, share in sorted(shares.items(), key=lambda x: -x[1])
    )
    return (
        f"At the answer the atoms move by {motion.rms_A:.2f} Å (rms in space, over all atoms). The "
        f"squares of the motions add: of the mean square displacement, {parts}."
    )


def _figure(shares: dict[str, float]) -> Figure:
    return Figure(
        name="motion_shares",
        caption="What the motion consists of: the part of the mean square displacement over all "
        "atoms that each kind of motion has.",
        alternative="Bars: " + ", ".join(f"{name} {100 * s:.1f} %" for name, s in shares.items()),
        draw=lambda: plot_shares(shares).figure,
    )


def _table(motion: MotionSizes, shares: dict[str, float]) -> Table:
    rows = [
        (name, size.rms_A if size else None, share * motion.mean_b_A2, 100 * share)
        for name, share in shares.items()
        for size in (motion.kinds.get(name),)
    ]
    return Table(
        name="motion",
        caption="Motions of the model at the answer, over all atoms: root mean square displacement "
        "in space, mean B-factor, and part of the mean square displacement.",
        columns=(
            Column(name="motion"),
            Column(name="rms displacement (Å)", digits=3),
            Column(name="mean B (Å²)", digits=2),
            Column(name="part (%)", digits=1),
        ),
        rows=(*rows, ("all", motion.rms_A, motion.mean_b_A2, 100.0)),
    )
