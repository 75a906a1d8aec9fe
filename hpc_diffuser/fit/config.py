"""The config file: TOML in, plain frozen data out, every mistake named.

A parameter is held at a number or refined in a range [low, high]. A parameter that is not
given is a motion that is absent (0), except `mode_amplitude_A`, which then is held at the
amplitudes stored with the modes.
"""

import difflib
import tomllib
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

from hpc_diffuser.fit.config_values import setting, shown
from hpc_diffuser.fit.search.method import METHODS
from hpc_diffuser.motion.registry import PARAMETERS, Range
from hpc_diffuser.system.errors import InputError

LIKELIHOOD = "likelihood"  # the score that is no CC
REFINE = "refine"  # what the weights of an ensemble are, instead of numbers


@dataclass(frozen=True)
class StructureConfig:
    """[structure]: what moves.

    `modes` (modes.h5), `file` for a model without modes, or `ensemble`: a PDB file of several
    models, or a trajectory with its `topology` and the crystal structure `reference` that its
    frames are superposed on; with `weights`, or "refine", from `given_weights`. `positions` is a
    structure or modes.h5 whose mean structure takes the place of that of `modes`. `conformer` (a
    letter, or "occupancy") and `hydrogens` say what is taken of PDB and mmCIF files, of that of
    [crystal] too.
    """

    modes: Path | None = None
    positions: Path | None = None
    file: Path | None = None
    ensemble: Path | None = None
    topology: Path | None = None
    reference: Path | None = None
    weights: tuple[float, ...] | str | None = None
    given_weights: tuple[float, ...] | None = None
    conformer: str = "A"
    hydrogens: bool = False
    n_modes: int | None = None
    correlated_modes: int = 0


@dataclass(frozen=True)
class CrystalConfig:
    """[crystal]: overrides what the structure file says.

    `file` is the crystal structure whose B-factors the model's motions are compared with.
    """

    file: Path | None = None
    unit_cell: tuple[float, ...] | None = None
    space_group: str | None = None


@dataclass(frozen=True)
class GridConfig:
    """[grid]: where `simulate` computes; a fit takes its target's grid."""

    oversampling: tuple[int, int, int] = (7, 7, 7)
    d_min_A: float = 1.6


@dataclass(frozen=True)
class TargetConfig:
    """[target]: what a fit is compared with, and how.

    The background of a likelihood bends at `background_knots` places. With `anisotropic_scale` the
    data are taken to have a scale that varies smoothly with direction.
    """

    file: Path | None = None
    score: str = "shell-mean"
    weights: str = "none"
    background_knots: int = 12
    anisotropic_scale: bool = False

    @property
    def cc_rule(self) -> str:
        """What a CC is over: beside a likelihood, the mean over the shells."""
        return "shell-mean" if self.score == LIKELIHOOD else self.score

    @property
    def knots(self) -> int | None:
        """Of a likelihood's background; None where the score is a CC."""
        return self.background_knots if self.score == LIKELIHOOD else None


@dataclass(frozen=True)
class PriorConfig:
    """[prior]: what is expected of the answer, each with the weight of its penalty; 0 for none.

    That of `amplitudes` may be "auto": then CC_free chooses it.
    `anisou` is of displacements beyond the crystal's ANISOU records in any direction.
    `tau` is how far the logarithms of the modes' amplitudes scatter about the source's. That of
    frames' `weights` is by default "auto" where they are refined. `springs` is of how springs of
    any shape differ from those of pairs of atoms, `springs_tau` how far their logarithms scatter.
    """

    b_factors: float = 0.0
    anisou: float = 0.0
    amplitudes: float | str = 0.0
    tau: float = 0.5
    weights: float | str | None = None
    springs: float = 0.0
    springs_tau: float = 1.0


# A field for each row of the registry, in its order. What is not given is absent, 0; but modes.
_RANGES: Any = make_dataclass(
    "_RANGES",
    [
        (row.name, Range | tuple[Range, ...] | None, None if row.several == "modes" else (0.0, 0.0))
        for row in PARAMETERS
    ],
    frozen=True,
)


class ParametersConfig(_RANGES):
    """[parameters]: each a range; a held parameter has low = high.

    Its fields are the names in `motion.registry.PARAMETERS`: (low, high), or a tuple of those for
    the several axes, modes or pairs that a parameter may be a list over; in the unit of the
    parameter. `mode_amplitude_A` is None where the modes' own amplitudes are held.
    """


@dataclass(frozen=True)
class LatticeConfig:
    """[lattice]: which atoms of two molecules springs join.

    Those of `file`, a crystal structure, in all conformers but without hydrogens and waters, that
    are nearer than `contact_A`; without a file those of the model itself.
    """

    file: Path | None = None
    contact_A: float = 4.0


@dataclass(frozen=True)
class ModelsConfig:
    """[models]: the models that a fit compares, each by its `TERMS`; none for a single fit.

    `bases` are other modes files than that of [structure], by the names that models with modes
    have them by: `rbt+int@name`. `positions` says whose mean structure these modes move: their
    "own", or that of "structure", which all models then have.
    """

    compare: tuple[str, ...] = ()
    bases: tuple[tuple[str, Path], ...] = ()
    positions: str = "own"


@dataclass(frozen=True)
class ModelConfig:
    """[model]: how the ensemble is sampled, and how its transform is computed.

    `estimator` says what of the modes' motion is sampled: all of it, nothing, or what the first
    order leaves. `samples` may be "auto": then as many as `map_error`, 1 − CC of a calculated map,
    asks for. `halos` says whether those of lattice-coupled translation are of molecules of one
    orientation, or of the whole cell.
    """

    estimator: str = "auto"
    samples: int | str = 128
    map_error: float = 5e-4
    sampler: str = "sobol"
    grid: str = "auto"
    transform: str = "auto"
    seed: int = 1
    final_samples: int = 1024
    halos: str = "molecule"


@dataclass(frozen=True)
class SearchConfig:
    """[search]: the optimisation.

    How many `restarts` where nothing is said depends on the `method`; `evaluations` of each are
    the most, as least squares end earlier.
    """

    method: str = "bayesian"
    restarts: int = 128
    evaluations: int = 100
    initial_points: int = 10


@dataclass(frozen=True)
class RunConfig:
    """[run]: where it is done, and by how many groups of ranks (0: as many as is fastest).

    `patience_s` is how long a rank waits for another before it ends the job.
    """

    directory: Path = Path("run")
    groups: int = 0
    patience_s: float = 1800.0


@dataclass(frozen=True)
class Config:
    """A whole config file; paths are absolute."""

    structure: StructureConfig = field(default_factory=StructureConfig)
    crystal: CrystalConfig = field(default_factory=CrystalConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    parameters: ParametersConfig = field(default_factory=ParametersConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    lattice: LatticeConfig = field(default_factory=LatticeConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    run: RunConfig = field(default_factory=RunConfig)


_MOST_BYTES = 1 << 20  # of a file


def load_config(path: Path) -> Config:
    """Read a TOML config.

    Parameters
    ----------
    path : Path
        Paths inside the file are relative to its folder.

    Raises
    ------
    InputError
        Naming file, key, what was found and what was expected.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")  # editors on Windows begin with a byte order mark
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "not UTF-8 text: save it as such"
        raise InputError(f"{path}: {reason}: expected a config file in TOML") from exc
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: more than {_MOST_BYTES} bytes: expected a config file in TOML")
    return parse_config(text, path.resolve().parent, str(path))


def parse_config(text: str, folder: Path, where: str = "config") -> Config:
    """The config in a TOML text; `folder` is what its paths are relative to."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # ValueError: a number of thousands of digits
        raise InputError(f"{where}: not valid TOML: {exc}") from exc
    return config_of_table(table, folder, where)


def config_of_table(table: dict[str, Any], folder: Path, where: str = "config") -> Config:
    """The config in tables as TOML has them: sections by name, of settings by name."""
    try:
        config = _section(Config, table, "", folder)
        if "restarts" not in table.get("search", {}):
            config = replace(config, search=with_usual_restarts(config.search))
    except InputError as exc:
        raise InputError(f"{where}: {exc}") from exc
    except RecursionError:  # from showing a value
        raise InputError(f"{where}: nested too deeply: expected sections with keys") from None
    return replace(config, run=replace(config.run, directory=folder / config.run.directory))


def with_usual_restarts(search: SearchConfig) -> SearchConfig:
    """The same with as many restarts as its method makes where nothing else is said."""
    return replace(search, restarts=METHODS[search.method].restarts)


def flat_config(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting by its dotted name, as plain JSON values: to compare, to store."""
    flat: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            flat |= flat_config(value, f"{prefix}{f.name}.")
        else:
            flat[prefix + f.name] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _section(kind: type, table: Any, prefix: str, folder: Path) -> Any:
    """A table as a dataclass, its keys checked against the fields."""
    if not isinstance(table, dict):
        raise InputError(f"[{prefix.rstrip('.')}] should be a table, found {shown(table)}")
    known = {f.name: f for f in fields(kind)}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise InputError(_unknown_key(prefix, key, list(known)))
        section = known[key].default_factory
        if is_dataclass(section):
            values[key] = _section(section, value, f"{key}.", folder)
        else:
            values[key] = setting(prefix + key, value, folder)
    return kind(**values)


# What is no key, though summaries name it so, and where it is said.
_ELSEWHERE = {
    "parameters.frame_weight": (
        'weights of an ensemble\'s frames are [structure] weights = "refine", or numbers that are '
        "held"
    )
}


def _unknown_key(prefix: str, key: str, known: list[str]) -> str:
    if prefix + key in _ELSEWHERE:
        return f'unknown key "{prefix}{key}": {_ELSEWHERE[prefix + key]}'
    every = [f"{s.name}.{f.name}" for s in fields(Config) for f in fields(s.default_factory)]
    # A right key in a wrong section, a misspelt one, then whatever looks most like it.
    nearest = [name for name in every if name.endswith("." + key)]
    nearest += [prefix + k for k in difflib.get_close_matches(key, known, 1, cutoff=0.5)]
    nearest += difflib.get_close_matches(prefix + key, every, 1, cutoff=0)
    return f'unknown key "{prefix}{key}": did you mean "{nearest[0]}"?'
