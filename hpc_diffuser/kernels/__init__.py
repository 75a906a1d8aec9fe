"""Compiled loops: arrays and scalars in, arrays out. All of numba is here."""
