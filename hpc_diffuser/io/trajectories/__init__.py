"""Molecular-dynamics trajectories, and what of them is the crystal's."""
