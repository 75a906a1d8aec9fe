"""Lattice dynamics of rigid molecules: springs between neighbours, and how these move together."""
