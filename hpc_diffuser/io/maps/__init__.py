"""Diffuse maps in files: the table of formats, and a module for each layout."""
