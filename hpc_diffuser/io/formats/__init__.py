"""Layouts of other programs' diffuse maps, a module for each family."""
