"""Fit internal motions of a protein to its measured 3-D X-ray diffuse scattering."""

__version__ = "0.1.0"
