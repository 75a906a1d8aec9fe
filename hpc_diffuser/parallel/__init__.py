"""Ranks and what each of them holds."""
