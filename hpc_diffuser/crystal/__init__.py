"""Crystals and their molecules: lattice, symmetry, atoms, what they scatter, which are the same."""
