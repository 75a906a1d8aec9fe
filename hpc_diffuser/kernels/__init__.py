"""Compiled loops: arrays and scalars in, arrays out. All of numba is here."""

from hpc_diffuser.kernels.cache import provide_cache

provide_cache()
