"""Names of residues, atoms and ions, as crystallography and the force fields spell them.

What gemmi's table of residues knows is taken from there; here is what it lacks.
"""

from collections.abc import Collection
from functools import cache

import gemmi

# Canonical name: what else the same residue is called, by protonation, disulphide or program.
_ALIASES = {
    "HIS": "HID HIE HIP HSD HSE HSP HISA HISB HISD HISE HISH HISP HIS1 HIS2",
    "LYS": "LYN LYSH LYP LSN",
    "ARG": "ARGN ARN RN1",
    "ASP": "ASH ASPH ASPP AS4",
    "GLU": "GLH GLUH GLUP GL4",
    "CYS": "CYX CYM CYN CYC CYS1 CYS2 CYSH CYSS CYSD",
    "TYR": "TYM TYRM TYN",
    "MET": "MSE",
    "SEC": "CSE",
    "SEP": "S1P S2P SP1 SP2",
    "TPO": "T1P T2P THP1 THP2",
    "PTR": "Y1P Y2P TP2",
    "ACE": "ACET",
    "NME": "NMA NAC CT3",
    "NH2": "NHE NT2",
    "A": "DA ADE",
    "C": "DC CYT",
    "G": "DG GUA",
    "HEM": "HEME",
    "DT": "THY T",
    "U": "DU URA",
    "HOH": (
        "WAT H2O D2O DOD SOL TIP TIP2 TIP3 TIP4 TIP5 TIP3P TIP4P TIP5P TIPS TP3 TP4 TP5 T3P T4P "
        "T5P T3H T4H T4E SPC SPCE OPC OPC3 WTR OH2 OHH HHO"
    ),
}
_CANONICAL = {alias: name for name, text in _ALIASES.items() for alias in text.split()}
_CAPS = {"ACE", "NME", "NH2", "FOR"}

# Element of an ion: how its residue is called, without the charge.
_ION_NAMES = {
    "Li": "LI LIT",
    "Na": "NA SOD NAX",
    "K": "K POT KX",
    "Rb": "RB RUB",
    "Cs": "CS CES",
    "Be": "BE",
    "Mg": "MG MG2 MGH",
    "Ca": "CA CAL CA2",
    "Sr": "SR",
    "Ba": "BA BAR",
    "Mn": "MN MN3",
    "Fe": "FE FE2 FE3",
    "Co": "CO 3CO",
    "Ni": "NI 3NI",
    "Cu": "CU CU1 CU2",
    "Zn": "ZN ZN2",
    "Cd": "CD CD2 CAD",
    "Hg": "HG HG2",
    "Al": "AL",
    "Ag": "AG",
    "Au": "AU",
    "Pt": "PT",
    "Pb": "PB",
    "Tl": "TL",
    "Y": "YT3",
    "La": "LA",
    "Eu": "EU EU3",
    "Gd": "GD GD3",
    "Tb": "TB",
    "Yb": "YB",
    "Sm": "SM",
    "Ho": "HO3",
    "F": "F",
    "Cl": "CL CLA CLX",
    "Br": "BR",
    "I": "IOD",
}
_IONS = {name: element for element, text in _ION_NAMES.items() for name in text.split()}
_SALTS = {"Li", "Na", "K", "Rb", "Cs", "F", "Cl", "Br", "I"}
_CHARGED_ONLY = {"I": "I", "F": "F"}  # without the sign, I is inosine

# Atoms of polymers under the names of force fields, and what the PDB calls them.
_ATOMS_OF_AMINO_ACIDS = {
    "OT1": "O", "OC1": "O", "O1": "O", "OT": "O", "O'": "O",
    "OT2": "OXT", "OC2": "OXT", "O2": "OXT", "OX": "OXT", "O''": "OXT", "OT'": "OXT",
    "HN": "H",
}  # fmt: skip
_ATOMS_OF_RESIDUES = {
    ("ILE", "CD"): "CD1",
    ("MET", "SE"): "SD",
    ("DT", "C5M"): "C7",
    ("DT", "C5A"): "C7",
}
_ATOMS_OF_NUCLEOTIDES = {"O1P": "OP1", "O2P": "OP2", "OA": "OP1", "OB": "OP2"}

# Two letters that a ligand's atom begins with for no other reason than its element.
_CERTAIN = {
    "AG", "AL", "AS", "AU", "BR", "CL", "FE", "GA", "GD", "GE", "LI", "MG", "MN", "MO", "RB",
    "RE", "RH", "RU", "SE", "SI", "TI", "TL", "ZN", "ZR",
}  # fmt: skip
# An atom that carries its place after its letter, or a metal: which, the name does not tell.
_EITHER = {
    "BA", "CD", "CO", "CR", "CU", "IN", "IR", "NI", "OS", "PB", "PD", "PT", "SB", "SN", "YB",
}  # fmt: skip
_SERIES = {"CD": {"CB", "CG", "CE"}, "PB": {"PA", "PG"}}  # what such places come after
_METALS_OF = {"OEX": "CA", "OEY": "CA", "MMC": "HG", "EMC": "HG", "HGB": "HG", "PHG": "HG"}
_ONE_LETTER = set("HDCNOPSFIBKVWYU")
_OF_POLYMERS = set("HDCNOPS")


@cache
def canonical_residue(name: str) -> str:
    """One name for all spellings of a residue: `HIE`, `HSD`, `NHIS` are `HIS`; `MSE` is `MET`.

    The ends of chains in Amber's and OPLS's libraries (`NALA`, `CLYN`, `DA5`, `RU3`) are the
    residue; deoxynucleotides have the letter of their base, since not all force fields tell
    them apart. A name that is not known is returned in capitals.
    """
    upper = name.strip().upper()
    if upper in _CANONICAL:
        return _CANONICAL[upper]
    if len(upper) == 4 and upper[0] in "NC" and _amino_acid(_CANONICAL.get(upper[1:], upper[1:])):
        return _CANONICAL.get(upper[1:], upper[1:])
    base = upper[:-1] if upper[-1:] in ("3", "5", "N") and len(upper) in (2, 3) else upper
    if base[:1] in ("D", "R") and base[1:] in set("ACGTU"):
        base = base[1:]
    if base in set("ACGTU"):
        return "DT" if base == "T" else base
    return upper


def same_residue(a: str, b: str) -> bool:
    """Whether two names are one residue."""
    return canonical_residue(a) == canonical_residue(b)


def is_water(name: str) -> bool:
    """Whether a residue is water."""
    return canonical_residue(name) == "HOH"


@cache
def is_ion(name: str) -> bool:
    """Whether a residue is a monatomic ion, such as a simulation's salt or a crystal's metal."""
    return _ion_element(name) is not None


def is_salt(name: str) -> bool:
    """Whether a residue is an ion of the solution, of which one is as good as another."""
    return _ion_element(name) in _SALTS


@cache
def is_polymer(name: str) -> bool:
    """Whether a residue is one of a protein's or a nucleic acid's, modified ones and caps too."""
    canonical = canonical_residue(name)
    return canonical in _CAPS or _amino_acid(canonical) or is_nucleotide(canonical)


@cache
def is_nucleotide(name: str) -> bool:
    """Whether a residue is one of DNA or RNA."""
    found = gemmi.find_tabulated_residue(canonical_residue(name))
    return found.found() and found.is_nucleic_acid()


def is_cap(name: str) -> bool:
    """Whether a residue closes a chain of amino acids: ACE, NME, NH2."""
    return canonical_residue(name) in _CAPS


@cache
def canonical_atom(atom: str, residue: str) -> str:
    """An atom's name in the PDB's spelling: `CD` of ILE is `CD1`, `OT1` is `O`."""
    upper, canonical = atom.strip().upper(), canonical_residue(residue)
    if (canonical, upper) in _ATOMS_OF_RESIDUES:
        return _ATOMS_OF_RESIDUES[canonical, upper]
    if is_nucleotide(canonical):
        upper = upper.replace("*", "'")
        return _ATOMS_OF_NUCLEOTIDES.get(upper, upper)
    if _is_standard(canonical):
        return _ATOMS_OF_AMINO_ACIDS.get(upper, upper)
    return upper


def ion_element(residue: str, atom: str) -> str | None:
    """Element of an ion that is a residue of its own name; None of anything else."""
    element = _ion_element(residue)
    return element if element is not None and _ion_element(atom) == element else None


def element_of(atom: str, residue: str, others: Collection[str] = ()) -> str | None:
    """The element that an atom's name tells, given its residue's.

    Parameters
    ----------
    atom, residue : str
    others : collection of str
        Names of the residue's other atoms: an ion has none.

    Returns
    -------
    str or None
        A symbol, deuterium as H; None where the name may be of several elements, or of none.
    """
    if not others and not is_polymer(residue) and (ion := _ion_element(atom)) is not None:
        return ion
    letters = _letters(atom)
    if is_water(residue) or _is_standard(canonical_residue(residue)):
        return _of_polymer(letters)
    if letters[:2] in _CERTAIN:
        return letters[:2].capitalize()
    if is_polymer(residue):
        return _first_letter(letters)
    if letters in _EITHER and letters.capitalize() in atom:
        return letters.capitalize()
    return _of_ligand(letters, residue.strip().upper(), {_letters(other) for other in others})


def _letters(atom: str) -> str:
    """What an atom's name has before its numbers."""
    name = atom.strip().upper().lstrip("0123456789'\"*")
    return name[: next((i for i, c in enumerate(name) if not c.isalpha()), None)]


def _of_polymer(letters: str) -> str | None:
    if letters == "SE":
        return "Se"
    return _first_letter(letters) if letters[:1] in _OF_POLYMERS else None


def _of_ligand(letters: str, residue: str, others: set[str]) -> str | None:
    if letters == _METALS_OF.get(residue):
        return letters.capitalize()
    if letters in _EITHER and not _SERIES.get(letters, set()) & others:
        return None
    return _first_letter(letters)


def _first_letter(letters: str) -> str | None:
    symbol = letters[:1]
    return ("H" if symbol == "D" else symbol) if symbol in _ONE_LETTER else None


def _is_standard(canonical: str) -> bool:
    return gemmi.find_tabulated_residue(canonical).is_standard()


@cache
def _ion_element(name: str) -> str | None:
    upper = name.strip().upper()
    bare = upper.rstrip("+-") if upper[-1:] in "+-" else upper
    if bare != upper:
        bare = bare.rstrip("0123456789")
        if bare in _CHARGED_ONLY:
            return _CHARGED_ONLY[bare]
    return _IONS.get(bare) or _IONS.get(bare.split("+")[0])


@cache
def _amino_acid(name: str) -> bool:
    found = gemmi.find_tabulated_residue(name)
    return found.found() and found.is_amino_acid()
