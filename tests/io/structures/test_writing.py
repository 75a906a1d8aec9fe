"""PDB files that are written: read again they are the same."""

from dataclasses import fields, replace

import numpy as np

from hpc_diffuser.commands.examples.protein import build_protein
from hpc_diffuser.io.structures.files import read_structure, write_pdb
from hpc_diffuser.system.errors import DiffuserError

CRYSTAL = ((27.424, 32.134, 34.513, 88.66, 108.46, 111.88), "P 1")


def test_write_pdb_round_trip(tmp_path):
    """To the format's 0.001 Å and 0.01 Å²; names, numbers, occupancies and the crystal exactly."""
    protein = build_protein()
    rng = np.random.default_rng(3)
    structure = replace(
        protein,
        b_factors_A2=rng.uniform(2, 90, len(protein)),
        occupancies=np.round(rng.uniform(0.1, 1, len(protein)), 2),
        residue_numbers=protein.residue_numbers - 3,
    )
    write_pdb(tmp_path / "m.pdb", structure, CRYSTAL)
    found, crystal = read_structure(tmp_path / "m.pdb")
    assert crystal == CRYSTAL
    np.testing.assert_allclose(found.positions, structure.positions, atol=5.01e-4)
    np.testing.assert_allclose(found.b_factors_A2, structure.b_factors_A2, atol=5.01e-3)
    np.testing.assert_allclose(found.occupancies, structure.occupancies, atol=1e-6)
    for field in fields(structure):
        if field.name not in ("positions", "b_factors_A2", "occupancies"):
            np.testing.assert_array_equal(
                getattr(found, field.name), getattr(structure, field.name)
            )


def test_write_pdb_of_several_chains(tmp_path, modes):
    """Chains and residues keep their order and their bounds."""
    structure = replace(
        modes.structure,
        chain_ids=np.repeat(["A", "B", "A"], 4),
        residue_numbers=np.repeat([1, 1, 2], 4),
    )
    write_pdb(tmp_path / "m.pdb", structure, CRYSTAL)
    found, _ = read_structure(tmp_path / "m.pdb")
    assert sorted(found.names()) == sorted(structure.names())


def test_write_pdb_of_large_numbers(tmp_path, modes):
    """Effective B-factors beyond 999 Å² and residues beyond 9999 leave the columns in place."""
    structure = replace(
        modes.structure,
        b_factors_A2=np.full(12, 1234.5),
        residue_numbers=np.repeat([9999, 10000, 10001], 4),
    )
    write_pdb(tmp_path / "m.pdb", structure, CRYSTAL)
    found, _ = read_structure(tmp_path / "m.pdb")
    np.testing.assert_allclose(found.positions, structure.positions, atol=5.01e-4)
    np.testing.assert_array_equal(found.residue_numbers, structure.residue_numbers)
    assert (found.b_factors_A2 > 999).all()


def test_write_pdb_of_a_long_chain_name(tmp_path, modes):
    """mmCIF allows names that PDB has no room for: written or refused, never a crash."""
    structure = replace(modes.structure, chain_ids=np.full(12, "AAA"))
    try:
        write_pdb(tmp_path / "m.pdb", structure, CRYSTAL)
    except DiffuserError:
        return
    found, _ = read_structure(tmp_path / "m.pdb")
    np.testing.assert_allclose(found.positions, structure.positions, atol=5.01e-4)
