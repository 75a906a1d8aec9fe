"""Fit internal motions of a protein to its measured 3-D X-ray diffuse scattering.

In Python, as `import hpc_diffuser as hd`: docs/python.md. What is named here is loaded when it is
first used; `__init__.pyi` says the same to programs that check types.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each name comes from, by the modules of the package.
_HOMES = {
    "interface.run": ("Run", "Comparison", "open_run", "open_comparison"),
    "interface.files": (
        "CrystalStructure",
        "open_structure",
        "open_modes",
        "open_map",
        "open_target",
        "save_map",
        "save_target",
    ),
    "interface.source": ("open_config",),
    "interface.calculation": ("Restart", "simulate", "score", "make_target", "fit_restart"),
    "commands.examples.four_helices": ("write_example",),
    "system.errors": ("InputError", "StorageError"),
    "plots.shells": ("plot_shells", "plot_voxels"),
    "plots.models": ("plot_model_shells",),
    "plots.sections": ("plot_section",),
    "plots.motion": ("plot_shares",),
    "plots.parameters": ("plot_intervals", "plot_correlation"),
    "plots.combinations": ("plot_combinations", "plot_deviations"),
    "plots.residues": ("plot_residue_matrix",),
    "plots.restarts": ("plot_histograms",),
    "plots.runs": ("plot_scores_of_runs",),
    "plots.samples": ("plot_samples",),
    "plots.long_enough": ("plot_parts", "plot_cosine_content", "plot_blocks"),
}
_PLACES = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    if name.startswith("plot_"):
        found = import_module(f"{__name__}.plots.canvas").for_users(found)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
