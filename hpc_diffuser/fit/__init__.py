"""Fitting: config, inputs, search, run directory, and what a fit says at its end."""
