"""PDB and mmCIF."""
