"""Diffuse maps as arrays: merging, re-indexing, shells, statistics, targets and their free sets."""
