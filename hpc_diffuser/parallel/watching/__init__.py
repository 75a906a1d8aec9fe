"""Ranks that die without a word, and who speaks for them."""
