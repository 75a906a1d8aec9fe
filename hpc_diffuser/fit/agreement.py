"""Whether restarts ended at the same place: in words, for all who tell it."""

from collections.abc import Sequence

from hpc_diffuser.fit.summary import Cluster, Summary

MOST_NUMBERS = 8  # of restarts that are named


def places(clusters: Sequence[Cluster]) -> str:
    """At how many places restarts ended: `the 4 restarts ended at 2 different places`.

    Parameters
    ----------
    clusters : sequence of Cluster
        Of the restarts that count. Empty where these are fewer than two: nothing to compare.
    """
    n_restarts = sum(len(cluster.restarts) for cluster in clusters)
    if n_restarts < 2:
        return ""
    if len(clusters) == 1:
        return f"all {n_restarts} restarts ended at the same place"
    return f"the {n_restarts} restarts ended at {len(clusters)} different places"


def agreement(summary: Summary) -> str:
    """How many of the finished restarts ended at how many places, and which ones elsewhere.

    Parameters
    ----------
    summary : Summary
        Restarts that failed are left out.

    Returns
    -------
    str
        A sentence without its full stop; empty where there are fewer than two to compare.
    """
    clusters = summary.findings.clusters if summary.findings else ()
    text = places(clusters)
    if summary.excluded:
        text = text.replace(" restarts", " restarts that did not fail", 1)
    if len(clusters) > 1:
        best, *others = clusters
        elsewhere = sorted(number for cluster in others for number in cluster.restarts)
        text += f" (clusters): {len(best.restarts)} at the best one, {_named(elsewhere)} elsewhere"
    return text[:1].upper() + text[1:]


def _named(numbers: Sequence[int]) -> str:
    """`restarts 2, 5 and 7`, of many the first ones and how many more."""
    shown = [str(number) for number in numbers[:MOST_NUMBERS]]
    if len(numbers) > MOST_NUMBERS:
        shown.append(f"{len(numbers) - MOST_NUMBERS} more")
    *before, last = shown
    word = "restart" if len(numbers) == 1 else "restarts"
    return f"{word} {', '.join(before)} and {last}" if before else f"{word} {last}"
