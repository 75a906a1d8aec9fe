"""What stands in the column of B-factors and in ANISOU records, where it may be something else."""

import numpy as np

_LEAST_MEAN_A2 = 2.0  # the best crystals of proteins, at 15 K, have some 3 Å²
_FEW_RESIDUES = 8
_LEAST_SHARE = 0.9  # of B, in the mean, that ANISOU records must account for


def b_column_notes(b: np.ndarray, residues: np.ndarray, without: int) -> list[str]:
    """A line where they do not look like B-factors of atoms.

    Parameters
    ----------
    b : (N,) float, Å²
    residues : (N,) int
        Which atoms are of one residue.
    without : int
        Atoms for which the file has none.
    """
    if without >= len(b):
        return ["B-factors: the file has none: 0 for all atoms"]
    if without:
        return [f"B-factors: the file has none for {without} atoms"]
    if len(b) > 1 and np.ptp(b) == 0:
        return [f"B-factors: all {b[0]:g} Å² in the file"]
    if b.min() < 0:
        return [f"B-factors: down to {b.min():g} Å² in the file: some are none"]
    if b.mean() < _LEAST_MEAN_A2:
        return [
            f"B-factors: mean {b.mean():.2g} Å² in the file: taken as B = 8π²<u²>, though they "
            "look like <u²> or occupancies"
        ]
    return _by_residue(b, residues)


def _by_residue(b: np.ndarray, residues: np.ndarray) -> list[str]:
    """Predicted structures have a confidence there, one for each residue, and up to 100."""
    _, first, of_atom = np.unique(residues, return_index=True, return_inverse=True)
    if len(first) < min(_FEW_RESIDUES, len(b)) or (b != b[first][of_atom.reshape(-1)]).any():
        return []
    return [
        "B-factors: one for each residue in the file: taken as such, though confidences (pLDDT) "
        "look like that"
    ]


def anisotropic_notes(b: np.ndarray, u_A2: np.ndarray) -> list[str]:
    """A line where ANISOU records hold less, or more, than the B-factors beside them.

    Of a refinement with TLS groups some programs leave these groups' part out of them.

    Parameters
    ----------
    b : (N,) float, Å²
    u_A2 : (N, 3, 3) float, Å²
        NaN where there is no record.
    """
    of_records = 8 * np.pi**2 / 3 * np.trace(u_A2, axis1=1, axis2=2)
    known = np.isfinite(of_records) & (b > 0)
    share = of_records[known].mean() / b[known].mean() if known.any() else 1.0
    if _LEAST_SHARE <= share <= 1 / _LEAST_SHARE:
        return []
    return [
        f"ANISOU records: {100 * share:.0f} % of the B-factors beside them, in the mean: taken as "
        "they are, though a refinement's TLS groups may be missing in them"
    ]
