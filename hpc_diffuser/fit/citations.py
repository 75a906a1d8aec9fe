"""What to cite for a fit: the method's paper, and the programs that this one computes with."""

from collections.abc import Callable
from dataclasses import dataclass

from hpc_diffuser import __version__


@dataclass(frozen=True)
class Reference:
    """A work, and what a fit owes to it.

    Attributes
    ----------
    key : str
        For BibTeX.
    what : str
        What it was used for.
    authors, title : str
    where : str
        Journal, volume and pages, or who publishes it.
    year : int or None
        None of what has many versions under one DOI.
    doi : str
        Empty without one.
    """

    key: str
    what: str
    authors: str
    title: str
    where: str
    year: int | None
    doi: str

    @property
    def url(self) -> str:
        """Empty without a DOI."""
        return f"https://doi.org/{self.doi}" if self.doi else ""


@dataclass(frozen=True)
class Used:
    """What a fit went through, as far as references depend on it.

    Attributes
    ----------
    method : str
        Of the search, as `[search] method` has it.
    trajectory : bool
        The modes, or the frames in their place, come from a trajectory.
    frame_weights : bool
        Those of an ensemble were refined.
    springs : bool
        Molecules are on springs between neighbours.
    """

    method: str = "bayesian"
    trajectory: bool = False
    frame_weights: bool = False
    springs: bool = False


def _always(used: Used) -> bool:
    return True


def _trajectory(used: Used) -> bool:
    return used.trajectory


def _frame_weights(used: Used) -> bool:
    return used.frame_weights


def _springs(used: Used) -> bool:
    return used.springs


def _bayesian(used: Used) -> bool:
    return used.method == "bayesian"


# In the order in which they are told; each with the fits that used it.
REFERENCES: tuple[tuple[Reference, Callable[[Used], bool]], ...] = (
    (
        Reference(
            "hpc_diffuser",
            "program",
            "The hpc-diffuser developers",
            f"hpc-diffuser {__version__}",
            "computer program",
            2026,
            "",
        ),
        _always,
    ),
    (
        Reference(
            "mazumder2021",
            "method",
            "P. Mazumder and K. Ayyer",
            "Understanding conformational dynamics from macromolecular crystal diffuse scattering",
            "bioRxiv",
            2021,
            "10.1101/2021.02.11.429988",
        ),
        _always,
    ),
    (
        Reference(
            "scikit_optimize",
            "search",
            "The scikit-optimize contributors",
            "scikit-optimize",
            "Zenodo",
            None,
            "10.5281/zenodo.10804382",
        ),
        _bayesian,
    ),
    (
        Reference(
            "hummer2015",
            "weights of frames",
            "G. Hummer and J. Köfinger",
            "Bayesian ensemble refinement by replica simulations and reweighting",
            "J. Chem. Phys. 143, 243150",
            2015,
            "10.1063/1.4937786",
        ),
        _frame_weights,
    ),
    (
        Reference(
            "meisburger2020",
            "lattice dynamics",
            "S. P. Meisburger, D. A. Case and N. Ando",
            "Diffuse X-ray scattering from correlated motions in a protein crystal",
            "Nat. Commun. 11, 1271",
            2020,
            "10.1038/s41467-020-14933-6",
        ),
        _springs,
    ),
    (
        Reference(
            "wojdyr2022",
            "structures and symmetry",
            "M. Wojdyr",
            "GEMMI: A library for structural biology",
            "J. Open Source Softw. 7(73), 4200",
            2022,
            "10.21105/joss.04200",
        ),
        _always,
    ),
    (
        Reference(
            "mcgibbon2015",
            "trajectories",
            "R. T. McGibbon et al.",
            "MDTraj: A Modern Open Library for the Analysis of Molecular Dynamics Trajectories",
            "Biophys. J. 109(8), 1528-1532",
            2015,
            "10.1016/j.bpj.2015.08.015",
        ),
        _trajectory,
    ),
    (
        Reference(
            "harris2020",
            "arrays",
            "C. R. Harris et al.",
            "Array programming with NumPy",
            "Nature 585, 357-362",
            2020,
            "10.1038/s41586-020-2649-2",
        ),
        _always,
    ),
    (
        Reference(
            "virtanen2020",
            "numerical methods",
            "P. Virtanen et al.",
            "SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python",
            "Nat. Methods 17, 261-272",
            2020,
            "10.1038/s41592-019-0686-2",
        ),
        _always,
    ),
    (
        Reference(
            "numba",
            "compiled loops",
            "The Numba developers",
            "Numba",
            "Zenodo",
            None,
            "10.5281/zenodo.4343230",
        ),
        _always,
    ),
    (
        Reference(
            "dalcin2021",
            "MPI",
            "L. Dalcin and Y.-L. L. Fang",
            "mpi4py: Status Update After 12 Years of Development",
            "Comput. Sci. Eng. 23(4), 47-54",
            2021,
            "10.1109/MCSE.2021.3083216",
        ),
        _always,
    ),
)


def citations(used: Used) -> tuple[Reference, ...]:
    """What a fit should cite, the program and its method's paper first."""
    return tuple(reference for reference, applies in REFERENCES if applies(used))


def citation_text(reference: Reference) -> str:
    """On one line: authors, year, title, where, and the DOI as a link."""
    year = f" ({reference.year})" if reference.year else ""
    told = (reference.authors + year, reference.title, reference.where, reference.url)
    return ". ".join(filter(None, told))


def bibtex(references: tuple[Reference, ...]) -> str:
    """The same for BibTeX, an entry for each."""
    return "\n".join(map(_entry, references))


def _entry(reference: Reference) -> str:
    fields = {
        "author": f"{{{reference.authors}}}",
        "title": f"{{{reference.title}}}",
        "howpublished": reference.where,
        "year": str(reference.year or ""),
        "doi": reference.doi,
    }
    lines = [f"  {name} = {{{value}}},\n" for name, value in fields.items() if value]
    return f"@misc{{{reference.key},\n{''.join(lines)}}}\n"
