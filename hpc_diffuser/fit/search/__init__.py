"""Proposing the next parameters to try."""
