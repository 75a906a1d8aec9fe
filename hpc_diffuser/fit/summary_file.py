"""The summary of a fit as a file, summary.json: its keys, written and read."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpc_diffuser.fit.summary import Findings, Outcome, Spread, Summary
from hpc_diffuser.system.errors import InputError
from hpc_diffuser.system.records import from_plain, to_plain
from hpc_diffuser.system.storage import read_json, write_json

NAME = "summary.json"
# 2: with clusters, answer, warnings and cost.
VERSION = 2
_SCORES = "_scores"  # the end of the keys of the points that were compared


def summary_data(summary: Summary) -> dict[str, Any]:
    """What summary.json holds: plain values, keys in their order."""
    data: dict[str, Any] = {"format": "hpc-diffuser/summary", "version": VERSION}
    for key, value in to_plain(summary).items():
        if key == "findings":
            data |= _findings_data(value) if value else {}
        elif key == "outcome":
            data |= _outcome_data(value) if value else {}
        elif key != "restarts_stood_still" or value:  # of other searches there is no such thing
            data[key] = value
    return data


def summary_from(data: dict[str, Any]) -> Summary:
    """The summary from what `summary_data` made of it.

    Raises
    ------
    InputError
        Naming the first key that is lacking or wrong.
    """
    return replace(
        from_plain(Summary, data | {"findings": None, "outcome": None}),
        findings=from_plain(Findings, _findings_from(data)) if "median" in data else None,
        outcome=from_plain(Outcome, _outcome_from(data)) if "answer" in data else None,
    )


def _findings_data(findings: dict[str, Any]) -> dict[str, Any]:
    """The best restart's parameters lie beside its score."""
    best = dict(findings["best"])
    return findings | {"best": {**best.pop("values"), **best}}


def _findings_from(data: dict[str, Any]) -> dict[str, Any]:
    best = data.get("best")
    if not isinstance(best, dict):
        return data
    values = {key: value for key, value in best.items() if key not in ("cc_work", "restart")}
    return data | {"best": best | {"values": values}}


def _outcome_data(outcome: dict[str, Any]) -> dict[str, Any]:
    """The scores of each point that was compared lie where `scores` does."""
    data: dict[str, Any] = {}
    for key, value in outcome.items():
        named = {f"{kind}{_SCORES}": of_one for kind, of_one in outcome["scores"].items()}
        data |= named if key == "scores" else {key: value}
    return data


def _outcome_from(data: dict[str, Any]) -> dict[str, Any]:
    scores = {k.removesuffix(_SCORES): v for k, v in data.items() if k.endswith(_SCORES)}
    return data | {"scores": scores}


def write_summary(directory: Path, summary: Summary) -> None:
    """Replace a run's summary.json in one step."""
    write_json(directory / NAME, summary_data(summary))


def read_summary(directory: Path) -> Summary:
    """A run's summary.json.

    Raises
    ------
    InputError
        Where it is not readable, damaged, or of another version.
    """
    path = directory / NAME
    remedy = "run hpc-diffuser fit again, which writes it anew"
    try:
        data = read_json(path)
    except InputError as exc:
        raise InputError(f"{exc}: {remedy}") from exc
    if not isinstance(data, dict):
        raise InputError(f"{path}: damaged: {remedy}")
    if data.get("version") != VERSION:
        raise InputError(
            f"{path}: of another version of hpc-diffuser: {remedy} (where that refuses, once with "
            "--accept-versions)"
        )
    try:
        return summary_from(data)
    except InputError as exc:
        raise InputError(f"{path}: damaged: {exc}: {remedy}") from exc


@dataclass(frozen=True)
class Stage:
    """How far a run is, as the summary of any version says.

    Attributes
    ----------
    restarts_finished : int
    shells : tuple or None
        Of the final map; None until it is made.
    standard_errors : dict or None
        By parameter name; None until then.
    """

    restarts_finished: int
    shells: tuple[Any, ...] | None = None
    standard_errors: Spread | None = None


def read_stage(directory: Path) -> Stage | None:
    """What the last job has summed up; None where there is nothing, or nothing readable."""
    try:
        return from_plain(Stage, read_json(directory / NAME))
    except InputError:
        return None
