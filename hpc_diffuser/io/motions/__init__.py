"""Motions for other programs: modes and conformations, written only."""
