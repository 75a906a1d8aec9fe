"""Several models beside each other, as one value, which models.json holds and its page reads."""

from dataclasses import dataclass
from pathlib import Path

from hpc_diffuser.fit.summary import BFactors, Ceiling, ScoreRule, Values
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.records import from_plain, to_plain
from hpc_diffuser.system.storage import read_json, write_json

NAME = "models.json"
_FORMAT = "hpc-diffuser/models"


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of a CC over several orders of the modes; None where it is undefined."""

    mean: float | None
    standard_deviation: float | None
    largest: float | None


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """A fit's weights given to the same modes in so many other orders."""

    orders: int
    cc_work: Statistics
    cc_free: Statistics


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One model's fit.

    Attributes
    ----------
    name : str
        Its terms joined by "+"; after an "@", a basis.
    basis, modes_file : str or None
    positions_file : str or None
        Whose mean structure the modes move, where it is not their own.
    refined : tuple of str
        Labels of the refined parameters.
    cc_work, cc_free : float or None
    median, answer : dict
        Of the model's own parameters, by name.
    answer_is : str
    at_upper_bound : tuple of str
        Of the median.
    warnings : tuple of str
    b_factors : BFactors or None
    shuffled_modes : Shuffled or None
    """

    name: str
    basis: str | None = None
    modes_file: str | None = None
    positions_file: str | None = None
    refined: tuple[str, ...]
    cc_work: float | None
    cc_free: float | None
    median: Values
    answer: Values
    answer_is: str
    at_upper_bound: tuple[str, ...]
    warnings: tuple[str, ...]
    b_factors: BFactors | None
    shuffled_modes: Shuffled | None


@dataclass(frozen=True, kw_only=True)
class ModelShellRow:
    """A resolution shell, limits in Å, with all models' CC by their names."""

    d_max: float | None
    d_min: float
    voxels_work: int
    voxels_free: int
    cc_half: float | None
    cc_star: float | None
    cc: dict[str, float | None]
    cc_free: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Several models fitted to one target.

    Attributes
    ----------
    models : tuple of ModelRow
    score : ScoreRule or None
        None in a file that is older.
    ceiling : Ceiling or None
        None where the target has no half-maps.
    shells : tuple of ModelShellRow
    """

    models: tuple[ModelRow, ...]
    score: ScoreRule | None = None
    ceiling: Ceiling | None
    shells: tuple[ModelShellRow, ...]


def write_comparison(directory: Path, comparison: ModelComparison) -> None:
    """Replace the folder's models.json in one step."""
    write_json(directory / NAME, {"format": _FORMAT, **to_plain(comparison)})


def read_comparison(directory: Path) -> ModelComparison:
    """What models.json holds.

    Raises
    ------
    InputError
        Where it is not readable, or damaged.
    """
    path = directory / NAME
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise InputError(f"{path}: not a comparison of models by hpc-diffuser: fit them again")
    try:
        return from_plain(ModelComparison, data)
    except InputError as exc:
        raise InputError(f"{path}: damaged: {exc}: fit the models again") from exc
